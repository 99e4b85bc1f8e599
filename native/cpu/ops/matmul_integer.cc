// MatMulInteger: exact, so no cut, packing or instruction set changes a result.
#include "cpu/ops/gemm_tasks.h"
#include "cpu/ops/matmul_shape.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"

namespace ziggurat::cpu {
namespace {

int64_t Lines(int64_t words) { return RoundUp(words, 16); }

int32_t ByteAt(const TensorView& view, int64_t i) {
  return view.dtype == DType::kInt8 ? view.As<const int8_t>()[i] : view.As<const uint8_t>()[i];
}

class MatMulInteger final : public Kernel {
 public:
  MatMulInteger(KernelSite& site, const KernelTable& table)
      : kernels_(*table.matrix), name_(Cat("matmul_integer.", table.isa)) {
    b_signed_ = site.node().Input(1)->type.dtype == DType::kInt8;
    const auto b = site.ConstantInput(1);
    if (!b || b->shape.rank() != 2 || b->Count() == 0) return;
    b_shape_ = b->shape;
    const std::string packing = Cat("int8.b.", kernels_.nr, ".", table.isa);
    const int64_t words = kernels_.int8->packed_b_words(b->shape[0], b->shape[1]);
    packed_ = site.Pack(1, packing, static_cast<size_t>(words) * 4, [&](std::byte* to) {
      PackPanels(b->data, b->shape[0], b->shape[1], 0, Panels(b->shape[1]), reinterpret_cast<int32_t*>(to));
    });
  }

  std::string_view name() const override { return name_; }
  bool NeedsInput(int i) const override { return i != 1 || !packed_; }

  double Flops(std::span<const TensorView> inputs, std::span<const TensorView>) const override {
    const MatMulShape s = ShapeOf(inputs);
    return 2.0 * static_cast<double>(s.batch) * static_cast<double>(s.m * s.n) * static_cast<double>(s.k);
  }

  size_t ScratchBytes(std::span<const TensorView> inputs, std::span<const TensorView>, int workers) const override {
    return static_cast<size_t>(LayOut(ShapeOf(inputs), workers).total) * 4;
  }

  void Run(KernelContext& context) const override {
    const MatMulShape s = ShapeOf(context.inputs);
    if (s.batch * s.m * s.n == 0) return;
    const Layout layout = LayOut(s, context.team.size());
    int32_t* scratch = reinterpret_cast<int32_t*>(context.scratch);
    const auto zero = [&](size_t i) {
      return context.inputs.size() > i && context.inputs[i].data ? &context.inputs[i] : nullptr;
    };
    Int8GemmArgs args;
    args.k = s.k;
    args.a_signed = context.inputs[0].dtype == DType::kInt8, args.b_signed = b_signed_;
    args.a_row = s.a_row, args.a_column = s.a_column;
    args.a_zero = zero(2) ? ByteAt(*zero(2), 0) : 0;
    for (int64_t j = 0; j < s.n; ++j)
      scratch[layout.zeros + j] = zero(3) ? ByteAt(*zero(3), zero(3)->Count() == 1 ? 0 : j) : 0;
    for (int64_t item = 0; item < s.batch; ++item) {
      args.a = context.inputs[0].As<const std::byte>() + s.AOffset(item);
      args.c = context.outputs[0].As<int32_t>() + s.COffset(item);
      args.b = packed_ ? reinterpret_cast<const int32_t*>(packed_->data()) : scratch + layout.b;
      if (!packed_) PackNow(context, s, item, scratch + layout.b);
      RunItem(context, s, args, scratch, layout);
    }
  }

 private:
  struct Layout {
    int64_t worker = 0, worker_step = 0, zeros = 0, b = 0, total = 0;
  };

  MatMulShape ShapeOf(std::span<const TensorView> inputs) const {
    return {inputs[0].shape, packed_ ? b_shape_ : inputs[1].shape, false, false};
  }
  int64_t Panels(int64_t n) const { return (n + kernels_.nr - 1) / kernels_.nr; }
  int64_t PanelWords(int64_t k) const { return kernels_.int8->packed_b_words(k, kernels_.nr); }

  Layout LayOut(const MatMulShape& s, int workers) const {
    Layout layout;
    layout.worker_step = Lines(kernels_.int8->scratch(s.k));
    layout.zeros = workers * layout.worker_step;
    layout.b = layout.zeros + Lines(s.n);
    layout.total = layout.b + (packed_ ? 0 : Lines(kernels_.int8->packed_b_words(s.k, s.n)));
    return layout;
  }

  void PackPanels(const void* b, int64_t k, int64_t n, int64_t first, int64_t last, int32_t* to) const {
    PackInt8BArgs args;
    args.b = b, args.is_signed = b_signed_;
    args.b_row = n, args.b_column = 1;
    args.k = k, args.n = n;
    args.first_panel = first, args.last_panel = last;
    args.packed = to;
    kernels_.int8->pack_b(args);
  }

  void PackNow(KernelContext& context, const MatMulShape& s, int64_t item, int32_t* to) const {
    const std::byte* b = context.inputs[1].As<const std::byte>() + s.BOffset(item);
    const int64_t grain = std::max<int64_t>(1, kCostlyGrain / std::max<int64_t>(1, s.k * kernels_.nr));
    ForRanges(context.team, Panels(s.n), grain, 1,
              [&](int64_t first, int64_t last) { PackPanels(b, s.k, s.n, first, last, to); });
  }

  void RunItem(KernelContext& context, const MatMulShape& s, const Int8GemmArgs& whole, int32_t* scratch,
               const Layout& layout) const {
    const GemmGrid grid = CutGemm(s.m, s.n, s.k, context.team.size(), kernels_.mr, kernels_.nr);
    const auto run = [&](int64_t task, int worker) {
      Int8GemmArgs args = whole;
      const int64_t row_part = task / grid.column_parts, column_part = task % grid.column_parts;
      const int64_t row0 = PartStart(s.m, grid.row_parts, row_part);
      const int64_t panel0 = PartStart(Panels(s.n), grid.column_parts, column_part);
      const int64_t panel1 = PartStart(Panels(s.n), grid.column_parts, column_part + 1);
      args.m = PartStart(s.m, grid.row_parts, row_part + 1) - row0;
      args.n = std::min(s.n, panel1 * kernels_.nr) - panel0 * kernels_.nr;
      args.a = static_cast<const std::byte*>(whole.a) + row0 * s.a_row;
      args.b = whole.b + panel0 * PanelWords(s.k);
      args.b_zero = scratch + layout.zeros + panel0 * kernels_.nr;
      args.c = whole.c + row0 * s.n + panel0 * kernels_.nr;
      args.c_row = s.n;
      args.scratch = scratch + layout.worker + worker * layout.worker_step;
      kernels_.int8->gemm(args);
    };
    if (grid.tasks() == 1)
      run(0, 0);
    else
      context.team.ParallelFor(grid.tasks(), run);
  }

  const MatrixKernels& kernels_;
  std::string name_;
  bool b_signed_ = true;
  std::shared_ptr<const PackedWeight> packed_;
  Shape b_shape_;  // of a packed B
};

// A zero point for all, or (of B) one a column.
bool IsZeroPoint(const Value* value, bool per_column) {
  if (!value) return true;
  if (!value->type.IsStatic()) return false;
  const Shape shape = value->type.StaticShape();
  return shape.Count() == 1 || (per_column && shape.rank() == 1);
}

std::unique_ptr<Kernel> Make(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  if (!IsZeroPoint(node.Input(2), false) || !IsZeroPoint(node.Input(3), true)) return nullptr;
  return std::make_unique<MatMulInteger>(site, table);
}

constexpr KernelEntry kEntries[] = {{"MatMulInteger", Make}};

}  // namespace

std::span<const KernelEntry> MatmulIntegerKernels() { return kEntries; }

}  // namespace ziggurat::cpu
