// Conv and the fused convolution of float32, and of float16 and bfloat16 computed in float32 and rounded once.
#include "cpu/ops/conv_shape.h"
#include "cpu/ops/conv_winograd.h"
#include "cpu/ops/fused.h"
#include "cpu/ops/gemm_tasks.h"
#include "cpu/ops/half.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"

namespace ziggurat::cpu {
namespace {

int64_t Lines(int64_t floats) { return RoundUp(floats, 16); }

class ConvKernel final : public Kernel {
 public:
  ConvKernel(KernelSite& site, const KernelTable& table, const ConvNode& conv, const Epilogue& epilogue)
      : kernels_(*table.matrix), conv_(conv), epilogue_(epilogue), dtype_(site.node().Input(0)->type.dtype) {
    half_ = HalfCasts(*table.vector, dtype_);
    const Type& weights = site.node().Input(1)->type;
    // One channel in and one out a group: what kernel serves is decided by the weights' type, known at load.
    depthwise_ = conv_.group > 1 && weights.IsStatic() && (*weights.shape)[1].IsConst(1) &&
                 (*weights.shape)[0].IsConst(conv_.group);
    has_residual_ = site.node().Input(3) != nullptr;
    name_ = Cat(depthwise_ ? "depthwise." : "conv.", Name(dtype_), ".", table.isa);
    if (const auto constant = site.ConstantInput(1); constant && constant->Count() > 0) PackConstant(site, *constant);
  }

  std::string_view name() const override { return name_; }
  bool NeedsInput(int i) const override { return i != 1 || !packed_; }

  double Flops(std::span<const TensorView> inputs, std::span<const TensorView> outputs) const override {
    const ConvShape s = ShapeOf(inputs, outputs);
    return 2.0 * static_cast<double>(s.K()) * static_cast<double>(outputs[0].Count());
  }

  size_t ScratchBytes(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
                      int workers) const override {
    return static_cast<size_t>(LayOut(inputs, outputs, workers).total) * sizeof(float);
  }

  void Run(KernelContext& context) const override {
    const ConvShape s = ShapeOf(context.inputs, context.outputs);
    const TensorView& output = context.outputs[0];
    if (output.Count() == 0) return;
    const Layout layout = LayOut(context.inputs, context.outputs, context.team.size());
    float* scratch = reinterpret_cast<float*>(context.scratch);
    const auto floats = [&](int i, int64_t at) -> const float* {
      if (i >= static_cast<int>(context.inputs.size()) || !context.inputs[i].data) return nullptr;
      if (!half_) return context.inputs[i].As<const float>();
      Widen(context, i, scratch + at);
      return scratch + at;
    };
    Job job{s, floats(0, layout.in), nullptr, half_ ? scratch + layout.out : output.As<float>(), epilogue_};
    job.epilogue.row_bias = floats(2, layout.bias);
    job.epilogue.residual = has_residual_ ? floats(3, layout.residual) : nullptr;
    job.epilogue.residual_row = s.OutPixels();
    job.weights = packed_ ? reinterpret_cast<const float*>(packed_->data()) : PackNow(context, s, layout);
    job.images = output.shape[0];
    if (depthwise_ && PadsLittle(s))
      RunDepthwise(context, job, layout);
    else
      RunProducts(context, job, layout);
    if (half_)
      ForElements(context.team, output.Count(), kCheapGrain, [&](int64_t begin, int64_t end) {
        half_.narrow(job.output + begin, static_cast<std::byte*>(output.data) + begin * 2, end - begin);
      });
  }

 private:
  // Where things lie in the scratch memory, in floats.
  struct Layout {
    int64_t worker = 0, worker_step = 0;
    int64_t weights = 0, in = 0, bias = 0, residual = 0, out = 0, wide_weights = 0;
    int64_t total = 0;
  };
  struct Job {
    ConvShape s;
    const float* input;
    const float* weights;
    float* output;
    Epilogue epilogue;
    int64_t images = 0;
  };

  ConvShape ShapeOf(std::span<const TensorView> inputs, std::span<const TensorView> outputs) const {
    return conv_.Resolve(inputs[0].shape, packed_ ? weights_shape_ : inputs[1].shape, outputs[0].shape);
  }

  int64_t WeightFloats(const ConvShape& s) const {
    return conv_.group * PackedAFloats(kernels_, s.out_channels, s.K());
  }

  // The depthwise kernel copies padded planes. A stride or padding out of all proportion would make them enormous: such
  // a convolution takes the general kernel, which has the same bits.
  static constexpr int64_t kPlaneFloats = 65536;
  static constexpr int64_t kPlaneSlack = 64;  // floats that vectors may read past a plane
  static bool PadsLittle(const ConvShape& s) {
    double plane = 1;
    for (int i = 0; i < 3; ++i)
      plane *= static_cast<double>((s.out[i] - 1) * s.stride[i] + (s.kernel[i] - 1) * s.dilation[i] + s.stride[i]);
    return plane < static_cast<double>(PlaneBound(s));
  }
  static int64_t PlaneBound(const ConvShape& s) { return kPlaneFloats + 4 * s.InPixels(); }

  // Group by group, tiles of output channels. A depthwise group is one row: its taps, as they are.
  void PackWeights(const ConvShape& s, const void* from, DType dtype, float* to) const {
    const int64_t k = s.K(), group_bytes = s.out_channels * k * static_cast<int64_t>(ByteSize(dtype));
    const int64_t group_floats = PackedAFloats(kernels_, s.out_channels, k);
    for (int64_t g = 0; g < conv_.group; ++g)
      kernels_.pack_a({static_cast<const std::byte*>(from) + g * group_bytes, dtype, k, 1}, s.out_channels, k,
                      to + g * group_floats);
  }

  void PackConstant(KernelSite& site, const TensorView& weights) {
    weights_shape_ = weights.shape;
    ConvShape s = conv_.Resolve(weights.shape, weights.shape, weights.shape);  // channels and kernel only
    const std::string packing = Cat("conv.a", conv_.group, ".", kernels_.mr);
    packed_ = site.Pack(1, packing, static_cast<size_t>(WeightFloats(s)) * sizeof(float), [&](std::byte* to) {
      PackWeights(s, weights.data, weights.dtype, reinterpret_cast<float*>(to));
    });
  }

  const float* PackNow(KernelContext& context, const ConvShape& s, const Layout& layout) const {
    float* to = reinterpret_cast<float*>(context.scratch) + layout.weights;
    PackWeights(s, context.inputs[1].data, dtype_, to);
    return to;
  }

  Layout LayOut(std::span<const TensorView> inputs, std::span<const TensorView> outputs, int workers) const {
    const ConvShape s = ShapeOf(inputs, outputs);
    Layout layout;
    layout.worker_step = Lines(kernels_.conv_scratch(s));
    // A bound that grows with the input: smaller shapes than these may be the ones to take the depthwise kernel.
    if (depthwise_) layout.worker_step = std::max(layout.worker_step, Lines(PlaneBound(s) + kPlaneSlack));
    layout.total = workers * layout.worker_step;
    layout.weights = layout.total;
    if (!packed_) layout.total += Lines(WeightFloats(s));
    if (!half_) return layout;
    const auto place = [&](int i, int64_t& at) {
      at = layout.total;
      if (i < static_cast<int>(inputs.size())) layout.total += Lines(inputs[i].shape.Count());
    };
    place(0, layout.in), place(2, layout.bias), place(3, layout.residual);
    layout.out = layout.total, layout.total += Lines(outputs[0].shape.Count());
    return layout;
  }

  void Widen(KernelContext& context, int i, float* to) const {
    const TensorView& view = context.inputs[i];
    ForElements(context.team, view.Count(), kCheapGrain, [&](int64_t begin, int64_t end) {
      half_.widen(static_cast<const std::byte*>(view.data) + begin * 2, to + begin, end - begin);
    });
  }

  // The part of the job that is one group of one image.
  ConvArgs Slice(const Job& job, int64_t image, int64_t group) const {
    const ConvShape& s = job.s;
    const int64_t item = image * conv_.group + group, rows = s.out_channels;
    ConvArgs args;
    args.shape = s;
    args.input = job.input + item * s.channels * s.InPixels();
    args.output = job.output + item * rows * s.OutPixels();
    args.weights = job.weights + group * PackedAFloats(kernels_, rows, s.K());
    args.epilogue = job.epilogue;
    if (args.epilogue.row_bias) args.epilogue.row_bias += group * rows;
    if (args.epilogue.residual) args.epilogue.residual += item * rows * s.OutPixels();
    return args;
  }

  void RunProducts(KernelContext& context, const Job& job, const Layout& layout) const {
    const ConvShape& s = job.s;
    const int64_t pixels = s.OutPixels(), nr = kernels_.nr, panels = (pixels + nr - 1) / nr;
    const int64_t tiles = TileRows(s.out_channels, kernels_.mr).count, items = job.images * conv_.group;
    const double flops = Flops(context.inputs, context.outputs);
    const int64_t wanted = std::min<int64_t>(std::max<int64_t>(1, static_cast<int64_t>(flops / kFlopsPerTask)),
                                             int64_t{4} * context.team.size());
    // Pixels first: a cut of the channels gathers the same patches once more.
    const int64_t each = context.team.size() == 1 ? 1 : (wanted + items - 1) / items;
    const int64_t pixel_parts = std::min(each, (panels + 1) / 2);
    const int64_t tile_parts = std::min(tiles, (each + pixel_parts - 1) / pixel_parts);
    const int64_t parts = pixel_parts * tile_parts;
    const auto run = [&](int64_t task, int worker) {
      const int64_t item = task / parts, part = task % parts;
      ConvArgs args = Slice(job, item / conv_.group, item % conv_.group);
      args.first_pixel = PartStart(panels, pixel_parts, part / tile_parts) * nr;
      args.last_pixel = std::min(pixels, PartStart(panels, pixel_parts, part / tile_parts + 1) * nr);
      args.first_tile = PartStart(tiles, tile_parts, part % tile_parts);
      args.last_tile = PartStart(tiles, tile_parts, part % tile_parts + 1);
      args.scratch = reinterpret_cast<float*>(context.scratch) + layout.worker + worker * layout.worker_step;
      kernels_.conv(args);
    };
    if (wanted == 1)
      for (int64_t task = 0; task < items * parts; ++task) run(task, 0);
    else
      context.team.ParallelFor(items * parts, run);
  }

  void RunDepthwise(KernelContext& context, const Job& job, const Layout& layout) const {
    const ConvShape& s = job.s;
    const int64_t planes = job.images * conv_.group, cost = s.OutPixels() * s.K() / 4 + s.InPixels() + 1;
    const int64_t wanted = std::min<int64_t>(planes * cost / kCheapGrain, int64_t{4} * context.team.size());
    const int64_t parts = std::max<int64_t>(1, std::min(planes, wanted));
    const auto run = [&](int64_t task, int worker) {
      for (int64_t i = PartStart(planes, parts, task); i < PartStart(planes, parts, task + 1); ++i) {
        ConvArgs args = Slice(job, i / conv_.group, i % conv_.group);
        args.first_tile = 0, args.last_tile = 1;
        args.scratch = reinterpret_cast<float*>(context.scratch) + layout.worker + worker * layout.worker_step;
        kernels_.depthwise(args);
      }
    };
    if (parts == 1)
      run(0, 0);
    else
      context.team.ParallelFor(parts, run);
  }

  std::string name_;
  const MatrixKernels& kernels_;
  ConvNode conv_;
  Epilogue epilogue_;
  DType dtype_;
  HalfCasts half_;
  bool depthwise_ = false, has_residual_ = false;
  std::shared_ptr<const PackedWeight> packed_;
  Shape weights_shape_;  // of packed weights
};

std::unique_ptr<Kernel> MakeConv(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  const Type &input = node.Input(0)->type, &weights = node.Input(1)->type;
  ConvNode conv;
  Epilogue epilogue;
  if (node.Int("channels_last")) return nullptr;  // its expansion serves
  if (!ComputesInFloat32(input.dtype) || !input.HasRank() || !weights.HasRank()) return nullptr;
  // What may be an empty sum over no channels is left to the plain kernels.
  if (!(*weights.shape)[1].IsConst() || (*weights.shape)[1].Const() < 1) return nullptr;
  if (!conv.Read(node, input.Rank()) || !ReadActivation(node, table, epilogue)) return nullptr;
  if (auto kernel = MakeWinograd(site, table, conv, epilogue)) return kernel;
  return std::make_unique<ConvKernel>(site, table, conv, epilogue);
}

constexpr KernelEntry kEntries[] = {
    {"Conv", MakeConv},
    {"FusedConv", MakeConv, "zig"},
};

}  // namespace

std::span<const KernelEntry> ConvKernels() { return kEntries; }

}  // namespace ziggurat::cpu
