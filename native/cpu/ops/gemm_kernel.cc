#include "cpu/ops/gemm_kernel.h"

#include "cpu/ops/ranges.h"

namespace ziggurat::cpu {
namespace {

// Scratch is cut at multiples of a cache line.
int64_t Lines(int64_t floats) { return RoundUp(floats, 16); }

const void* Element(const TensorView& view, int64_t offset) {
  return static_cast<const std::byte*>(view.data) + offset * static_cast<int64_t>(ByteSize(view.dtype));
}

}  // namespace

GemmKernel::GemmKernel(KernelSite& site, const KernelTable& table, const GemmSpec& spec)
    : kernels_(*table.matrix), spec_(spec), half_(*table.vector, spec.dtype) {
  name_ = Cat("gemm.", Name(spec.dtype), ".", table.isa);
  const std::optional<TensorView> b = site.ConstantInput(1);
  if (!b || b->shape.rank() < 1) return;
  // A stack of constant matrices is packed anew each run, like a B that is computed.
  const MatMulShape shape(Shape{b->shape.rank() == 1 || !spec.transpose_b ? b->shape[std::max(0, b->shape.rank() - 2)]
                                                                          : b->shape[b->shape.rank() - 1]},
                          b->shape, false, spec.transpose_b);
  if (shape.batch != 1 || b->Count() == 0) return;
  b_shape_ = b->shape;
  const std::string packing = Cat("gemm.b", spec.transpose_b ? "t" : "", ".", kernels_.nr);
  packed_b_ = site.Pack(
      1, packing, static_cast<size_t>(PackedBFloats(kernels_, shape.k, shape.n)) * sizeof(float), [&](std::byte* to) {
        const MatrixView source = {b->data, b->dtype, shape.b_row, shape.b_column};
        PackPanels(shape, source, 0, (shape.n + kernels_.nr - 1) / kernels_.nr, reinterpret_cast<float*>(to));
      });
}

MatMulShape GemmKernel::ShapeOf(std::span<const TensorView> inputs) const {
  return {inputs[0].shape, packed_b_ ? b_shape_ : inputs[1].shape, spec_.transpose_a, spec_.transpose_b};
}

void GemmKernel::PackPanels(const MatMulShape& shape, const MatrixView& b, int64_t first, int64_t last,
                            float* to) const {
  PackBArgs args;
  args.b = b;
  args.k = shape.k, args.n = shape.n;
  args.first_panel = first, args.last_panel = last;
  args.packed = to;
  kernels_.pack_b(args);
}

// With one tile of rows each element of B is used once: packing it would cost as much as the product.
bool GemmKernel::ReadsPlainB(const MatMulShape& shape) const {
  return !packed_b_ && !half_ && shape.m <= kernels_.mr && shape.b_column == 1;
}

GemmKernel::Layout GemmKernel::LayOut(const MatMulShape& shape, std::span<const TensorView> inputs, int workers) const {
  // Sizes never fall as a dimension grows, so that a bound on the shapes bounds the scratch of all below it.
  Layout layout;
  const int64_t count = shape.batch * shape.m * shape.n;
  layout.pack_a_step = Lines(kernels_.gemm_scratch(shape.batch * shape.m, shape.k));
  layout.total = workers * layout.pack_a_step;
  layout.pack_b = layout.total;
  if (!packed_b_) {
    layout.pack_b_step = Lines(PackedBFloats(kernels_, shape.k, shape.n));
    layout.total += std::max<int64_t>(1, std::min<int64_t>(workers, shape.batch)) * layout.pack_b_step;
  }
  if (half_) {
    const auto widened = [&](int input) {
      return input >= 0 && input < static_cast<int>(inputs.size()) ? Lines(inputs[input].shape.Count()) : 0;
    };
    layout.c = layout.total, layout.total += Lines(count);
    layout.bias = layout.total, layout.total += widened(spec_.bias);
    layout.residual = layout.total, layout.total += widened(spec_.residual);
  }
  return layout;
}

size_t GemmKernel::ScratchBytes(std::span<const TensorView> inputs, std::span<const TensorView>, int workers) const {
  return static_cast<size_t>(LayOut(ShapeOf(inputs), inputs, workers).total) * sizeof(float);
}

double GemmKernel::Flops(std::span<const TensorView> inputs, std::span<const TensorView>) const {
  const MatMulShape shape = ShapeOf(inputs);
  return 2.0 * static_cast<double>(shape.batch) * static_cast<double>(shape.m) * static_cast<double>(shape.n) *
         static_cast<double>(shape.k);
}

// The epilogue with its operands' addresses. A residual that broadcasts over batches of matrices is refused at load.
Epilogue GemmKernel::Finish(KernelContext& context, const Layout& layout, const Shape& output) const {
  Epilogue epilogue = spec_.epilogue;
  const auto floats = [&](int input, int64_t at) -> const float* {
    if (input < 0 || input >= static_cast<int>(context.inputs.size()) || !context.inputs[input].data) return nullptr;
    const TensorView& view = context.inputs[input];
    if (!half_) return view.As<const float>();
    float* wide = reinterpret_cast<float*>(context.scratch) + at;
    half_.widen(view.data, wide, view.Count());
    return wide;
  };
  epilogue.column_bias = floats(spec_.bias, layout.bias);
  epilogue.residual = floats(spec_.residual, layout.residual);
  if (epilogue.residual) {
    const Shape& shape = context.inputs[spec_.residual].shape;
    const int64_t columns = shape.rank() == 0 ? 1 : shape[shape.rank() - 1];
    const int64_t rows = shape.Count(0, std::max(0, shape.rank() - 1));
    const int64_t n = output.rank() == 0 ? 1 : output[output.rank() - 1];
    epilogue.residual_column = columns == 1 && n != 1 ? 0 : 1;
    epilogue.residual_row = rows == 1 ? 0 : columns;
  }
  return epilogue;
}

GemmKernel::Product GemmKernel::Item(const KernelContext& context, const MatMulShape& shape, const Epilogue& epilogue,
                                     float* c, int64_t item) const {
  Product product;
  product.a = {Element(context.inputs[0], shape.AOffset(item)), spec_.dtype, shape.a_row, shape.a_column};
  if (packed_b_)
    product.packed_b = reinterpret_cast<const float*>(packed_b_->data());
  else
    product.b = {Element(context.inputs[1], shape.BOffset(item)), spec_.dtype, shape.b_row, shape.b_column};
  product.c = c + shape.COffset(item);
  product.epilogue = epilogue;
  if (epilogue.residual_row) product.epilogue.residual += item * shape.m * epilogue.residual_row;
  return product;
}

// One task of the grid. Rows of the plain form's last, incomplete panel are packed here.
void GemmKernel::Part(const MatMulShape& shape, const Product& product, const GemmGrid& grid, int64_t task,
                      float* pack_a, float* pack_b) const {
  const int64_t nr = kernels_.nr, panels = (shape.n + nr - 1) / nr;
  const int64_t row_part = task / grid.column_parts, column_part = task % grid.column_parts;
  const int64_t row0 = PartStart(shape.m, grid.row_parts, row_part);
  const int64_t row1 = PartStart(shape.m, grid.row_parts, row_part + 1);
  const int64_t panel0 = PartStart(panels, grid.column_parts, column_part);
  const int64_t panel1 = PartStart(panels, grid.column_parts, column_part + 1);
  const auto run = [&](int64_t first_panel, int64_t last_panel, const float* b, int64_t b_step, int64_t b_panel) {
    GemmArgs args;
    const int64_t column0 = first_panel * nr;
    args.m = row1 - row0, args.n = std::min(shape.n, last_panel * nr) - column0, args.k = shape.k;
    if (args.m <= 0 || args.n <= 0) return;
    args.a = product.a;
    args.a.data = static_cast<const std::byte*>(product.a.data) +
                  row0 * product.a.row * static_cast<int64_t>(ByteSize(product.a.dtype));
    args.b = b, args.b_step = b_step, args.b_panel = b_panel;
    args.c = product.c + row0 * shape.n + column0, args.c_row = shape.n;
    args.epilogue = product.epilogue;
    if (args.epilogue.column_bias) args.epilogue.column_bias += column0;
    if (args.epilogue.residual)
      args.epilogue.residual += row0 * args.epilogue.residual_row + column0 * args.epilogue.residual_column;
    args.scratch = pack_a;
    kernels_.gemm(args);
  };
  if (product.packed_b) return run(panel0, panel1, product.packed_b + panel0 * nr * shape.k, nr, nr * shape.k);
  const int64_t whole = std::min(panel1, shape.n / nr);
  run(panel0, whole, static_cast<const float*>(product.b.data) + panel0 * nr, product.b.row, nr);
  if (whole < panel1) {
    PackPanels(shape, product.b, whole, panel1, pack_b);
    run(whole, panel1, pack_b + whole * nr * shape.k, nr, nr * shape.k);
  }
}

// Enough products for all workers: each does whole ones, packing B into its own scratch.
void GemmKernel::RunBatch(KernelContext& context, const MatMulShape& shape, const Layout& layout,
                          const Epilogue& epilogue, float* c) const {
  float* scratch = reinterpret_cast<float*>(context.scratch);
  const auto one = [&](int64_t item, int worker) {
    Product product = Item(context, shape, epilogue, c, item);
    float* pack_b = scratch + layout.pack_b + worker * layout.pack_b_step;
    if (!product.packed_b && !ReadsPlainB(shape)) {
      PackPanels(shape, product.b, 0, (shape.n + kernels_.nr - 1) / kernels_.nr, pack_b);
      product.packed_b = pack_b;
    }
    Part(shape, product, {}, 0, scratch + layout.pack_a + worker * layout.pack_a_step, pack_b);
  };
  const double flops = Flops(context.inputs, context.outputs);
  if (flops < 2 * kFlopsPerTask)
    for (int64_t item = 0; item < shape.batch; ++item) one(item, 0);
  else
    context.team.ParallelFor(shape.batch, one);
}

// One product at a time: B is packed together, then its parts are computed.
void GemmKernel::RunOne(KernelContext& context, const MatMulShape& shape, const Layout& layout,
                        const Product& item) const {
  float* scratch = reinterpret_cast<float*>(context.scratch);
  float* pack_b = scratch + layout.pack_b;
  Product product = item;
  const GemmGrid grid = CutGemm(shape.m, shape.n, shape.k, context.team.size(), kernels_.mr, kernels_.nr);
  if (!product.packed_b && !ReadsPlainB(shape)) {
    const int64_t panels = (shape.n + kernels_.nr - 1) / kernels_.nr;
    ForRanges(context.team, panels, std::max<int64_t>(1, kCheapGrain / std::max<int64_t>(1, shape.k * kernels_.nr)), 1,
              [&](int64_t first, int64_t last) { PackPanels(shape, product.b, first, last, pack_b); });
    product.packed_b = pack_b;
  }
  const auto part = [&](int64_t task, int worker) {
    Part(shape, product, grid, task, scratch + layout.pack_a + worker * layout.pack_a_step, pack_b);
  };
  if (grid.tasks() == 1)
    part(0, 0);
  else
    context.team.ParallelFor(grid.tasks(), part);
}

void GemmKernel::Run(KernelContext& context) const {
  const MatMulShape shape = ShapeOf(context.inputs);
  if (shape.batch * shape.m * shape.n == 0) return;
  const int workers = context.team.size();
  const Layout layout = LayOut(shape, context.inputs, workers);
  const TensorView& output = context.outputs[0];
  float* c = half_ ? reinterpret_cast<float*>(context.scratch) + layout.c : output.As<float>();
  const Epilogue epilogue = Finish(context, layout, output.shape);
  if (shape.batch >= workers && shape.batch > 1)
    RunBatch(context, shape, layout, epilogue, c);
  else
    for (int64_t item = 0; item < shape.batch; ++item)
      RunOne(context, shape, layout, Item(context, shape, epilogue, c, item));
  if (half_)
    ForElements(context.team, output.Count(), kCheapGrain, [&](int64_t begin, int64_t end) {
      half_.narrow(c + begin, static_cast<std::byte*>(output.data) + begin * 2, end - begin);
    });
}

}  // namespace ziggurat::cpu
