// ConvTranspose of float32: a product that gives every tap of every input position, then their sum where they land.
// Sums run over input channels within a tap, then over taps; both orders are fixed.
#include "cpu/ops/conv_shape.h"
#include "cpu/ops/gemm_tasks.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"

namespace ziggurat::cpu {
namespace {

int64_t Lines(int64_t floats) { return RoundUp(floats, 16); }

class ConvTransposeKernel final : public Kernel {
 public:
  ConvTransposeKernel(KernelSite& site, const KernelTable& table, const ConvNode& conv)
      : kernels_(*table.matrix), conv_(conv), name_(Cat("conv_transpose.float32.", table.isa)) {
    const Node& node = site.node();
    sized_ = node.Has("output_shape");
    const std::vector<int64_t> extra = node.Ints("output_padding");
    for (int i = 0; i < conv.axes && i < static_cast<int>(extra.size()); ++i) extra_[3 - conv.axes + i] = extra[i];
    const auto weights = site.ConstantInput(1);
    if (!weights || weights->Count() == 0) return;
    weights_shape_ = weights->shape;
    packed_ = site.Pack(1, Cat("conv_transpose.", conv_.group, ".", kernels_.mr),
                        static_cast<size_t>(WeightFloats(weights_shape_)) * sizeof(float), [&](std::byte* to) {
                          PackWeights(weights_shape_, weights->As<const float>(), reinterpret_cast<float*>(to));
                        });
  }

  std::string_view name() const override { return name_; }
  bool NeedsInput(int i) const override { return i != 1 || !packed_; }

  double Flops(std::span<const TensorView> inputs, std::span<const TensorView>) const override {
    const Shape& weights = WeightsOf(inputs);
    return 2.0 * static_cast<double>(inputs[0].shape.Count()) * static_cast<double>(weights.Count(1, weights.rank()));
  }

  size_t ScratchBytes(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
                      int workers) const override {
    return static_cast<size_t>(LayOut(inputs, outputs, workers).total) * sizeof(float);
  }

  void Run(KernelContext& context) const override {
    const TensorView &input = context.inputs[0], &output = context.outputs[0];
    if (output.Count() == 0) return;
    const Shape& weights = WeightsOf(context.inputs);
    const ConvShape s = Resolve(input.shape, weights, output.shape);
    const Layout layout = LayOut(context.inputs, context.outputs, context.team.size());
    float* scratch = reinterpret_cast<float*>(context.scratch);
    Job job{s, nullptr, scratch + layout.patches, nullptr, nullptr};
    job.weights = packed_ ? reinterpret_cast<const float*>(packed_->data()) : scratch + layout.weights;
    if (!packed_) PackWeights(weights, context.inputs[1].As<const float>(), scratch + layout.weights);
    const float* bias = context.inputs.size() > 2 ? context.inputs[2].As<const float>() : nullptr;
    for (int64_t item = 0; item < input.shape[0] * conv_.group; ++item) {
      const int64_t group = item % conv_.group;
      PackInput(context, s, input.As<const float>() + item * s.channels * s.InPixels(), job.patches);
      job.output = output.As<float>() + item * s.out_channels * s.OutPixels();
      job.bias = bias ? bias + group * s.out_channels : nullptr;
      const int64_t parts = (s.out_channels + Chunk(s) - 1) / Chunk(s);
      context.team.ParallelFor(parts, [&](int64_t part, int worker) {
        RunPart(job, group, part, scratch + layout.worker + worker * layout.worker_step);
      });
    }
  }

 private:
  struct Layout {
    int64_t worker = 0, worker_step = 0, patches = 0, weights = 0, total = 0;
  };
  struct Job {
    ConvShape s;
    const float* weights;
    float* patches;  // packed input: [pixels / nr][channels][nr]
    float* output;
    const float* bias;
  };

  const Shape& WeightsOf(std::span<const TensorView> inputs) const {
    return packed_ ? weights_shape_ : inputs[1].shape;
  }

  ConvShape Resolve(const Shape& input, const Shape& weights, const Shape& output) const {
    ConvShape s;
    s.channels = weights[0] / conv_.group, s.out_channels = weights[1];
    for (int i = 0; i < conv_.axes; ++i) {
      const int at = 3 - conv_.axes + i;
      s.in[at] = input[2 + i], s.kernel[at] = weights[2 + i], s.out[at] = output[2 + i];
      s.stride[at] = conv_.strides[at], s.dilation[at] = conv_.dilations[at], s.pad[at] = conv_.pads[at];
      if (sized_ || conv_.auto_pad.starts_with("SAME")) {
        const int64_t total =
            s.stride[at] * (s.in[at] - 1) + extra_[at] + (s.kernel[at] - 1) * s.dilation[at] + 1 - s.out[at];
        s.pad[at] = conv_.auto_pad == "SAME_UPPER" ? total / 2 : total - total / 2;
      }
    }
    return s;
  }

  static int64_t Taps(const ConvShape& s) { return s.kernel[0] * s.kernel[1] * s.kernel[2]; }
  // Output channels of a task: some 64 rows of the product.
  static int64_t Chunk(const ConvShape& s) { return std::max<int64_t>(1, 64 / Taps(s)); }

  int64_t WeightFloats(const Shape& weights) const {
    return conv_.group * PackedAFloats(kernels_, weights.Count(1, weights.rank()), weights[0] / conv_.group);
  }

  // W is [group, channels, out_channels, taps]; each chunk of output channels becomes an A of its own, whose rows are
  // (out channel, tap) and whose k is the input channel.
  void PackWeights(const Shape& weights, const float* from, float* to) const {
    ConvShape s = Resolve(weights, weights, weights);  // channels and kernel only
    const int64_t rows = s.out_channels * Taps(s), chunk = Chunk(s) * Taps(s);
    for (int64_t g = 0; g < conv_.group; ++g, from += s.channels * rows)
      for (int64_t row = 0; row < rows; row += chunk) {
        const int64_t count = std::min(chunk, rows - row);
        kernels_.pack_a({from + row, DType::kFloat32, 1, rows}, count, s.channels, to);
        to += PackedAFloats(kernels_, count, s.channels);
      }
  }

  void PackInput(KernelContext& context, const ConvShape& s, const float* from, float* to) const {
    PackBArgs args;
    args.b = {from, DType::kFloat32, s.InPixels(), 1};
    args.k = s.channels, args.n = s.InPixels();
    args.packed = to;
    const int64_t panels = (args.n + kernels_.nr - 1) / kernels_.nr;
    ForRanges(context.team, panels, std::max<int64_t>(1, kCheapGrain / std::max<int64_t>(1, s.channels * kernels_.nr)),
              1, [&](int64_t first, int64_t last) {
                PackBArgs part = args;
                part.first_panel = first, part.last_panel = last;
                kernels_.pack_b(part);
              });
  }

  void RunPart(const Job& job, int64_t group, int64_t part, float* products) const {
    const ConvShape& s = job.s;
    const int64_t taps = Taps(s), first = part * Chunk(s), count = std::min(Chunk(s), s.out_channels - first);
    GemmArgs gemm;
    gemm.m = count * taps, gemm.n = s.InPixels(), gemm.k = s.channels;
    gemm.a_packed = job.weights + PackedAFloats(kernels_, (group * s.out_channels + first) * taps, s.channels);
    gemm.b = job.patches, gemm.b_step = kernels_.nr, gemm.b_panel = kernels_.nr * s.channels;
    gemm.c = products, gemm.c_row = s.InPixels();
    kernels_.gemm(gemm);
    FoldArgs fold;
    fold.shape = s;
    fold.shape.out_channels = count;
    fold.products = products;
    fold.output = job.output + first * s.OutPixels();
    fold.epilogue.row_bias = job.bias ? job.bias + first : nullptr;
    kernels_.fold(fold);
  }

  Layout LayOut(std::span<const TensorView> inputs, std::span<const TensorView> outputs, int workers) const {
    const Shape& weights = WeightsOf(inputs);
    const ConvShape s = Resolve(inputs[0].shape, weights, outputs[0].shape);
    Layout layout;
    layout.worker_step = Lines(std::min(Chunk(s), s.out_channels) * Taps(s) * s.InPixels());
    layout.patches = workers * layout.worker_step;
    layout.weights = layout.patches + Lines(PackedBFloats(kernels_, s.channels, s.InPixels()));
    layout.total = layout.weights + (packed_ ? 0 : Lines(WeightFloats(weights)));
    return layout;
  }

  const MatrixKernels& kernels_;
  ConvNode conv_;
  std::string name_;
  bool sized_ = false;
  int64_t extra_[3] = {0, 0, 0};
  std::shared_ptr<const PackedWeight> packed_;
  Shape weights_shape_;  // of packed weights
};

std::unique_ptr<Kernel> MakeConvTranspose(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  const Type &input = node.Input(0)->type, &weights = node.Input(1)->type;
  ConvNode conv;
  if (input.dtype != DType::kFloat32 || !input.HasRank() || !weights.HasRank()) return nullptr;
  for (int i : {0, 1})
    if (!(*weights.shape)[i].IsConst() || (*weights.shape)[i].Const() < 1) return nullptr;
  if (!conv.Read(node, input.Rank())) return nullptr;
  return std::make_unique<ConvTransposeKernel>(site, table, conv);
}

constexpr KernelEntry kEntries[] = {{"ConvTranspose", MakeConvTranspose}};

}  // namespace

std::span<const KernelEntry> ConvTransposeKernels() { return kEntries; }

}  // namespace ziggurat::cpu
