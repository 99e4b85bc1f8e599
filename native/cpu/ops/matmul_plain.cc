// MatMul of float64 and of 32- and 64-bit integers.
#include "cpu/ops/gemm_tasks.h"
#include "cpu/ops/matmul_shape.h"
#include "cpu/ops/registry.h"

namespace ziggurat::cpu {
namespace {

class PlainMatMul final : public Kernel {
 public:
  PlainMatMul(PlainGemmFn run, DType dtype, const char* isa)
      : run_(run), bytes_(static_cast<int64_t>(ByteSize(dtype))), name_(Cat("matmul.", Name(dtype), ".", isa)) {}

  std::string_view name() const override { return name_; }

  void Run(KernelContext& context) const override {
    const TensorView &a = context.inputs[0], &b = context.inputs[1];
    const MatMulShape shape(a.shape, b.shape, false, false);
    const GemmGrid grid = CutGemm(shape.m, shape.n, shape.k, context.team.size(), 4, 64);
    context.team.ParallelFor(shape.batch * grid.row_parts, [&](int64_t task, int) {
      const int64_t item = task / grid.row_parts, part = task % grid.row_parts;
      const int64_t row0 = PartStart(shape.m, grid.row_parts, part);
      PlainGemmArgs args;
      args.m = PartStart(shape.m, grid.row_parts, part + 1) - row0, args.n = shape.n, args.k = shape.k;
      args.a = a.As<const std::byte>() + (shape.AOffset(item) + row0 * shape.a_row) * bytes_;
      args.a_row = shape.a_row, args.a_column = shape.a_column;
      args.b = b.As<const std::byte>() + shape.BOffset(item) * bytes_;
      args.b_row = shape.b_row, args.b_column = shape.b_column;
      args.c = context.outputs[0].As<std::byte>() + (shape.COffset(item) + row0 * shape.n) * bytes_;
      args.c_row = shape.n;
      run_(args);
    });
  }

 private:
  PlainGemmFn run_;
  int64_t bytes_;
  std::string name_;
};

std::unique_ptr<Kernel> Make(KernelSite& site, const KernelTable& table) {
  const DType dtype = site.node().Input(0)->type.dtype;
  const PlainGemmFn run = table.matrix->plain_gemm(dtype);
  return run ? std::make_unique<PlainMatMul>(run, dtype, table.isa) : nullptr;
}

constexpr KernelEntry kEntries[] = {{"MatMul", Make}};

}  // namespace

std::span<const KernelEntry> PlainMatmulKernels() { return kEntries; }

}  // namespace ziggurat::cpu
