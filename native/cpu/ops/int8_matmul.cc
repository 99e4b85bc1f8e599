#include "cpu/ops/int8_matmul.h"

#include "cpu/ops/gemm_tasks.h"
#include "cpu/ops/ranges.h"

namespace ziggurat::cpu {
namespace {

int64_t Lines(int64_t words) { return RoundUp(words, 16); }

int32_t ByteAt(const TensorView& view, int64_t i) {
  return view.dtype == DType::kInt8 ? view.As<const int8_t>()[i] : view.As<const uint8_t>()[i];
}

}  // namespace

Int8MatMul::Int8MatMul(KernelSite& site, const KernelTable& table, int b)
    : kernels_(*table.matrix), b_signed_(site.node().Input(b)->type.dtype == DType::kInt8) {
  const auto constant = site.ConstantInput(b);
  if (!constant || constant->shape.rank() != 2 || constant->Count() == 0) return;
  b_shape_ = constant->shape;
  const std::string packing = Cat("int8.b.", kernels_.nr, ".", table.isa);
  const MatMulShape shape(Shape{b_shape_[0]}, b_shape_, false, false);
  const int64_t words = kernels_.int8->packed_b_words(shape.k, shape.n);
  packed_ = site.Pack(b, packing, static_cast<size_t>(words) * 4, [&](std::byte* to) {
    PackPanels(constant->data, shape, 0, Panels(shape.n), reinterpret_cast<int32_t*>(to));
  });
}

Int8MatMul::Layout Int8MatMul::LayOut(const MatMulShape& shape, int workers) const {
  Layout layout;
  layout.worker_step = Lines(kernels_.int8->scratch(shape.k));
  layout.zeros = workers * layout.worker_step;
  layout.b = layout.zeros + Lines(shape.n);
  layout.total = layout.b + (packed_ ? 0 : Lines(kernels_.int8->packed_b_words(shape.k, shape.n)));
  return layout;
}

void Int8MatMul::PackPanels(const void* b, const MatMulShape& shape, int64_t first, int64_t last, int32_t* to) const {
  PackInt8BArgs args;
  args.b = b, args.is_signed = b_signed_;
  args.b_row = shape.b_row, args.b_column = shape.b_column;
  args.k = shape.k, args.n = shape.n;
  args.first_panel = first, args.last_panel = last;
  args.packed = to;
  kernels_.int8->pack_b(args);
}

void Int8MatMul::Run(const Team& team, const MatMulShape& shape, const Operands& operands,
                     std::byte* scratch_bytes) const {
  if (shape.batch * shape.m * shape.n == 0) return;
  const Layout layout = LayOut(shape, team.size());
  int32_t* scratch = reinterpret_cast<int32_t*>(scratch_bytes);
  Int8GemmArgs args;
  args.k = shape.k;
  args.a_signed = operands.a.dtype == DType::kInt8, args.b_signed = b_signed_;
  args.a_row = shape.a_row, args.a_column = shape.a_column;
  args.a_zero = operands.a_zero ? ByteAt(*operands.a_zero, 0) : 0;
  args.finish = operands.finish;
  for (int64_t j = 0; j < shape.n; ++j)
    scratch[layout.zeros + j] = operands.b_zero ? ByteAt(*operands.b_zero, operands.b_zero->Count() == 1 ? 0 : j) : 0;
  for (int64_t item = 0; item < shape.batch; ++item) {
    args.a = operands.a.As<const std::byte>() + shape.AOffset(item);
    args.y = static_cast<std::byte*>(operands.out) + shape.COffset(item) * operands.element;
    args.b = packed_ ? reinterpret_cast<const int32_t*>(packed_->data()) : scratch + layout.b;
    if (!packed_) {
      const std::byte* b = operands.b.As<const std::byte>() + shape.BOffset(item);
      const int64_t grain = std::max<int64_t>(1, kCostlyGrain / std::max<int64_t>(1, shape.k * kernels_.nr));
      ForRanges(team, Panels(shape.n), grain, 1,
                [&](int64_t first, int64_t last) { PackPanels(b, shape, first, last, scratch + layout.b); });
    }
    RunItem(team, shape, args, operands.element, scratch, layout);
  }
}

void Int8MatMul::RunItem(const Team& team, const MatMulShape& shape, const Int8GemmArgs& item, int64_t element,
                         int32_t* scratch, const Layout& layout) const {
  const GemmGrid grid = CutGemm(shape.m, shape.n, shape.k, team.size(), kernels_.mr, kernels_.nr);
  const auto run = [&](int64_t task, int worker) {
    Int8GemmArgs args = item;
    const int64_t row_part = task / grid.column_parts, column_part = task % grid.column_parts;
    const int64_t row0 = PartStart(shape.m, grid.row_parts, row_part);
    const int64_t panel0 = PartStart(Panels(shape.n), grid.column_parts, column_part);
    const int64_t panel1 = PartStart(Panels(shape.n), grid.column_parts, column_part + 1);
    const int64_t column0 = panel0 * kernels_.nr;
    args.m = PartStart(shape.m, grid.row_parts, row_part + 1) - row0;
    args.n = std::min(shape.n, panel1 * kernels_.nr) - column0;
    args.a = static_cast<const std::byte*>(item.a) + row0 * shape.a_row;
    args.b = item.b + panel0 * PanelWords(shape.k);
    args.b_zero = scratch + layout.zeros + column0;
    args.y = static_cast<std::byte*>(item.y) + (row0 * shape.n + column0) * element;
    args.c = item.finish ? nullptr : static_cast<int32_t*>(args.y);
    args.c_row = shape.n;
    args.scratch = scratch + layout.worker + worker * layout.worker_step;
    Int8Finish finish;
    if (item.finish) {
      finish = *item.finish;
      finish.scale += column0;
      if (finish.bias) finish.bias += column0;
      args.finish = &finish;
    }
    kernels_.int8->gemm(args);
  };
  if (grid.tasks() == 1)
    run(0, 0);
  else
    team.ParallelFor(grid.tasks(), run);
}

}  // namespace ziggurat::cpu
