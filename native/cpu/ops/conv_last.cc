// The convolution of float32 tensors whose channels come last.
#include "cpu/ops/conv_last.h"

#include <vector>

#include "cpu/ops/fused.h"
#include "cpu/ops/gemm_tasks.h"

namespace ziggurat::cpu {
namespace {

int64_t Lines(int64_t floats) { return RoundUp(floats, 16); }

// Rows up to which jobs that share them read one copy of the patches. Beyond, each has enough rows of its own.
constexpr int64_t kSharedRows = 140;

class ConvLastKernel final : public ConvLastBase {
 public:
  ConvLastKernel(KernelSite& site, const KernelTable& table, const ConvLastNode& node)
      : ConvLastBase(node, Cat("conv_last.float32.", table.isa)), kernels_(*table.matrix), last_(*table.matrix->last) {
    const TensorView weights = *site.ConstantInput(1);
    const ConvShape s = node_.Resolve(weights.shape, weights.shape);  // channels and kernel only
    weight_step_ = PackedBFloats(kernels_, s.K(), s.out_channels);
    const std::string packing =
        Cat("conv_last.b", node_.conv.group, ".", s.out_channels, ".", s.channels, ".", node_.Taps(), ".", kernels_.nr);
    packed_ =
        site.Pack(1, packing, static_cast<size_t>(node_.conv.group * weight_step_) * sizeof(float),
                  [&](std::byte* to) { PackWeights(s, weights.As<const float>(), reinterpret_cast<float*>(to)); });
  }

  double Flops(std::span<const TensorView> inputs, std::span<const TensorView> outputs) const override {
    const ConvShape s = node_.Resolve(inputs[0].shape, outputs[0].shape);
    return 2.0 * static_cast<double>(s.K()) * static_cast<double>(outputs[0].Count());
  }

  size_t ScratchBytes(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
                      int workers) const override {
    return static_cast<size_t>(LayOut(inputs[0].shape, outputs[0].shape, workers).total) * sizeof(float);
  }

  void Run(KernelContext& context) const override {
    if (context.outputs[0].Count() == 0) return;
    Job job = JobOf(context);
    const Layout layout = LayOut(context.inputs[0].shape, context.outputs[0].shape, context.team.size());
    float* scratch = reinterpret_cast<float*>(context.scratch);
    const auto run = [&](int64_t task, int worker) {
      ConvLastArgs args = Part(job, task);
      args.scratch = scratch + worker * layout.worker_step;
      last_.conv(args);
    };
    if (job.tasks() == 1) return run(0, 0);
    if (job.shared) {
      float* to = scratch + layout.shared;
      context.team.ParallelFor(job.tiling.count, [&](int64_t tile, int) { last_.pack(job.args, tile, tile + 1, to); });
      job.args.packed = to;
    }
    context.team.ParallelFor(job.tasks(), run);
  }

 private:
  // Where things lie in the scratch memory, in floats.
  struct Layout {
    int64_t worker_step = 0, shared = 0, total = 0;
  };
  struct Job {
    ConvLastArgs args;  // of the first group, all rows and panels
    Tiling tiling;      // of all rows
    GemmGrid grid;      // of one group
    int64_t group = 1, panels = 0;
    bool shared = false;
    int64_t tasks() const { return group * grid.tasks(); }
  };

  void PackWeights(const ConvShape& s, const float* from, float* to) const {
    const int64_t taps = node_.Taps(), k = s.K();
    std::vector<float> rows(static_cast<size_t>(s.out_channels * k));  // [out channel][tap][channel]
    for (int64_t g = 0; g < node_.conv.group; ++g, from += s.out_channels * k, to += weight_step_) {
      for (int64_t o = 0; o < s.out_channels; ++o)
        for (int64_t c = 0; c < s.channels; ++c)
          for (int64_t tap = 0; tap < taps; ++tap)
            rows[static_cast<size_t>(o * k + tap * s.channels + c)] = from[o * k + c * taps + tap];
      PackBArgs args;
      args.b = {rows.data(), DType::kFloat32, 1, k};
      args.k = k, args.n = s.out_channels;
      args.last_panel = (s.out_channels + kernels_.nr - 1) / kernels_.nr;
      args.packed = to;
      kernels_.pack_b(args);
    }
  }

  Layout LayOut(const Shape& input, const Shape& output, int workers) const {
    // Sizes never fall as a dimension grows, so that a bound on the shapes bounds the scratch of all below it.
    const ConvShape s = node_.Resolve(input, output);
    const int64_t rows = output[0] * s.OutPixels();
    Layout layout;
    layout.worker_step = Lines(last_.scratch(s, rows));
    layout.shared = layout.total = workers * layout.worker_step;
    if (workers > 1 && node_.conv.group == 1)
      layout.total += Lines(std::min(rows, kSharedRows) * RoundUp(s.K(), kKBlock));
    return layout;
  }

  Job JobOf(const KernelContext& context) const {
    const Shape &input = context.inputs[0].shape, &output = context.outputs[0].shape;
    Job job;
    ConvLastArgs& args = job.args;
    const ConvShape& s = args.shape = node_.Resolve(input, output);
    const int64_t rows = output[0] * s.OutPixels();
    job.group = node_.conv.group;
    job.tiling = TileRows(rows, kernels_.mr);
    job.panels = (s.out_channels + kernels_.nr - 1) / kernels_.nr;
    // Rows are cut before groups, as the steps around cut them: a core then reads what it wrote itself.
    const int team = context.team.size();
    const int64_t beside = rows < team * kLeastRows ? job.group : 1;
    job.grid = CutGemm(rows, s.out_channels * (job.group / beside), s.K(),
                       static_cast<int>((team + beside - 1) / beside), kernels_.mr, kernels_.nr);
    if (job.group > 1) job.grid.column_parts = 1;
    args.pixel = Pixel(context), args.out_pixel = OutPixel(context);
    args.input = context.inputs[0].As<const float>();
    args.weights = reinterpret_cast<const float*>(packed_->data());
    args.output = context.outputs[0].As<float>();
    args.epilogue = Finish(context);
    args.packed_rows = rows;
    job.shared = job.group == 1 && job.grid.row_parts == 1 && job.grid.column_parts > 1 && rows <= kSharedRows &&
                 !last_.reads_in_place(s, args.pixel);
    return job;
  }

  // One task: rows of a group, cut at tiles, times some panels.
  ConvLastArgs Part(const Job& job, int64_t task) const {
    ConvLastArgs args = job.args;
    const int64_t column = task % job.grid.column_parts, part = task / job.grid.column_parts;
    const int64_t g = part % job.group, row = part / job.group;
    args.input += g * args.shape.channels;
    args.output += g * args.shape.out_channels;
    args.weights += g * weight_step_;
    if (args.epilogue.column_bias) args.epilogue.column_bias += g * args.shape.out_channels;
    if (args.epilogue.residual) args.epilogue.residual += g * args.shape.out_channels;
    args.first_row = TileStart(job.tiling, PartStart(job.tiling.count, job.grid.row_parts, row));
    args.last_row = TileStart(job.tiling, PartStart(job.tiling.count, job.grid.row_parts, row + 1));
    args.first_panel = PartStart(job.panels, job.grid.column_parts, column);
    args.last_panel = PartStart(job.panels, job.grid.column_parts, column + 1);
    return args;
  }

  const MatrixKernels& kernels_;
  const LastConvKernels& last_;
  int64_t weight_step_ = 0;  // floats a group
  std::shared_ptr<const PackedWeight> packed_;
};

std::unique_ptr<Kernel> MakeConvLast(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  const Type &input = node.Input(0)->type, &weights = node.Input(1)->type;
  ConvLastNode last;
  if (!node.Int("channels_last") || input.dtype != DType::kFloat32 || !input.HasRank()) return nullptr;
  // Weights that are computed, and sums over no channels, are left to the expansion.
  if (!site.ConstantInput(1) || !weights.IsStatic() || weights.StaticShape().Count() == 0) return nullptr;
  if (!last.conv.Read(node, input.Rank()) || !ReadActivation(node, table, last.epilogue)) return nullptr;
  last.weights = weights.StaticShape();
  last.has_residual = node.Input(3) != nullptr;
  if (auto kernel = MakeDepthwiseLast(site, table, last)) return kernel;
  if (auto kernel = MakeWinogradLast(site, table, last)) return kernel;
  return std::make_unique<ConvLastKernel>(site, table, last);
}

constexpr KernelEntry kEntries[] = {
    {"FusedConv", MakeConvLast, "zig"},
};

}  // namespace

ConvShape ConvLastNode::Resolve(const Shape& input, const Shape& output) const {
  const auto first = [](const Shape& shape) {
    Shape moved{shape[0], shape[shape.rank() - 1]};
    for (int i = 1; i + 1 < shape.rank(); ++i) moved.push_back(shape[i]);
    return moved;
  };
  return conv.Resolve(first(input), weights, first(output));
}

Epilogue ConvLastBase::Finish(const KernelContext& context) const {
  Epilogue finish = node_.epilogue;
  const auto floats = [&](size_t i) {
    return i < context.inputs.size() ? context.inputs[i].As<const float>() : nullptr;
  };
  finish.column_bias = floats(2);
  finish.residual = node_.has_residual ? floats(3) : nullptr;
  finish.residual_row = InputPitch(3, Last(context.outputs[0].shape));
  return finish;
}

std::span<const KernelEntry> ConvLastKernels() { return kEntries; }

}  // namespace ziggurat::cpu
