// zig.Linear with float16 and bfloat16 weights: kept in 16 bits, computed in float32 like every product. zig.Embed of
// the same weight reads the same panels.
#include <vector>

#include "cpu/ops/gemm_tasks.h"
#include "cpu/ops/linear.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"

namespace ziggurat::cpu {
namespace {

constexpr int64_t Lines(int64_t floats) { return RoundUp(floats, 16); }

bool IsHalfMatrix(const Value& w) {
  const bool half = w.type.dtype == DType::kFloat16 || w.type.dtype == DType::kBFloat16;
  return half && w.type.encoding.IsPlain() && w.IsConstant() && w.type.StaticShape().rank() == 2;
}

// The panels of constant input `i` of a node.
struct Panels {
  DType dtype;
  int64_t n, k, nr, count;
  std::shared_ptr<const PackedWeight> packed;

  Panels(KernelSite& site, int i, const MatrixKernels& kernels) : nr(kernels.nr) {
    const Type& type = site.node().Input(i)->type;
    dtype = type.dtype;
    n = type.StaticShape()[0], k = type.StaticShape()[1];
    count = (n + nr - 1) / nr;
    packed = site.Pack(i, Cat("linear.half.", nr), static_cast<size_t>(count * nr * k) * 2, [&](std::byte* to) {
      const TensorView w = *site.ConstantInput(i);
      kernels.pack_half({w.As<const uint16_t>(), k, n, 0, count, reinterpret_cast<uint16_t*>(to)});
    });
  }
  // The panel that begins with that row.
  const uint16_t* At(int64_t row) const { return reinterpret_cast<const uint16_t*>(packed->data()) + row * k; }
};

class HalfLinear final : public Kernel {
 public:
  HalfLinear(KernelSite& site, const KernelTable& table)
      : kernels_(*table.matrix), w_(site, 1, kernels_), name_(Cat("linear.", Name(w_.dtype), ".", table.isa)) {}

  std::string_view name() const override { return name_; }
  bool NeedsInput(int i) const override { return i != 1; }
  double Flops(std::span<const TensorView> inputs, std::span<const TensorView>) const override {
    return 2.0 * static_cast<double>(inputs[0].shape[0]) * static_cast<double>(w_.n) * static_cast<double>(w_.k);
  }
  size_t ScratchBytes(std::span<const TensorView> inputs, std::span<const TensorView>, int workers) const override {
    return static_cast<size_t>(workers * PerWorker(inputs[0].shape[0])) * sizeof(float);
  }

  void Run(KernelContext& context) const override {
    const TensorView &x = context.inputs[0], &y = context.outputs[0];
    const int64_t t = x.shape[0];
    const int64_t n = w_.n, k = w_.k, nr = w_.nr;
    if (t * n == 0) return;
    const float* bias = context.inputs.size() > 2 ? context.inputs[2].As<const float>() : nullptr;
    const GemmGrid grid = CutGemm(t, n, k, context.team.size(), kernels_.mr, kernels_.nr);
    const auto run = [&](int64_t task, int worker) {
      const int64_t row0 = PartStart(t, grid.row_parts, task / grid.column_parts);
      const int64_t row1 = PartStart(t, grid.row_parts, task / grid.column_parts + 1);
      const int64_t panel0 = PartStart(w_.count, grid.column_parts, task % grid.column_parts);
      const int64_t panel1 = PartStart(w_.count, grid.column_parts, task % grid.column_parts + 1);
      const int64_t column0 = panel0 * nr;
      GemmArgs args;
      args.m = row1 - row0, args.n = std::min(n, panel1 * nr) - column0, args.k = k;
      if (args.m <= 0 || args.n <= 0) return;
      args.a = {x.As<const float>() + row0 * k, DType::kFloat32, k, 1};
      args.b = w_.At(column0), args.b_dtype = w_.dtype;
      args.b_step = nr, args.b_panel = nr * k;
      args.c = y.As<float>() + row0 * n + column0, args.c_row = n;
      if (bias) args.epilogue.column_bias = bias + column0;
      args.scratch = reinterpret_cast<float*>(context.scratch) + worker * PerWorker(t);
      args.wide = args.scratch + Lines(kernels_.gemm_scratch(t, w_.k));
      kernels_.gemm(args);
    };
    if (grid.tasks() == 1)
      run(0, 0);
    else
      context.team.ParallelFor(grid.tasks(), run);
  }

 private:
  int64_t PerWorker(int64_t t) const { return Lines(kernels_.gemm_scratch(t, w_.k)) + Lines(kernels_.wide_floats); }

  const MatrixKernels& kernels_;
  const Panels w_;
  std::string name_;
};

class PanelEmbed final : public Kernel {
 public:
  PanelEmbed(KernelSite& site, const KernelTable& table)
      : w_(site, 0, *table.matrix),
        widen_(table.vector->cast.find(w_.dtype, DType::kFloat32)),
        name_(Cat("embed.panels.", Name(w_.dtype))) {}

  std::string_view name() const override { return name_; }
  bool NeedsInput(int i) const override { return i != 0; }
  void Run(KernelContext& context) const override {
    const TensorView& ids = context.inputs[1];
    CheckIds(ids, w_.n);
    float* y = context.outputs[0].As<float>();
    ForRows(context.team, ids.Count(), w_.k, kCostlyGrain, [&](int64_t begin, int64_t end) {
      std::vector<uint16_t> row(static_cast<size_t>(w_.k));
      for (int64_t i = begin; i < end; ++i) {
        const int64_t id = ids.As<const int64_t>()[i], lane = id % w_.nr;
        const uint16_t* panel = w_.At(id - lane);
        for (int64_t kk = 0; kk < w_.k; ++kk) row[static_cast<size_t>(kk)] = panel[kk * w_.nr + lane];
        widen_(row.data(), y + i * w_.k, w_.k);
      }
    });
  }

 private:
  const Panels w_;
  CastFn widen_;
  std::string name_;
};

std::unique_ptr<Kernel> MakeLinear(KernelSite& site, const KernelTable& table) {
  if (!IsHalfMatrix(*site.node().Input(1))) return nullptr;
  return std::make_unique<HalfLinear>(site, table);
}

std::unique_ptr<Kernel> MakeEmbed(KernelSite& site, const KernelTable& table) {
  const Value& w = *site.node().Input(0);
  if (!IsHalfMatrix(w) || !FeedsLinear(w)) return nullptr;
  return std::make_unique<PanelEmbed>(site, table);
}

constexpr KernelEntry kEntries[] = {{"Linear", &MakeLinear, "zig"}, {"Embed", &MakeEmbed, "zig"}};

}  // namespace

std::span<const KernelEntry> LinearHalfKernels() { return kEntries; }

}  // namespace ziggurat::cpu
