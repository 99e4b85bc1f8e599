// Matrix products of float32, and of float16 and bfloat16 computed in float32 and rounded once.
#pragma once

#include <memory>
#include <string>

#include "cpu/kernel_table.h"
#include "cpu/ops/gemm_tasks.h"
#include "cpu/ops/half.h"
#include "cpu/ops/matmul_shape.h"
#include "device/device.h"

namespace ziggurat::cpu {

// What a node asks for, read once.
struct GemmSpec {
  DType dtype = DType::kFloat32;
  bool transpose_a = false, transpose_b = false;
  int bias = -1;      // input with one element a column
  int residual = -1;  // input broadcast to the product
  Epilogue epilogue;  // scale, residual_scale and activation; pointers are set at run time
};

class GemmKernel final : public Kernel {
 public:
  // Packs B if it is a constant matrix.
  GemmKernel(KernelSite& site, const KernelTable& table, const GemmSpec& spec);

  std::string_view name() const override { return name_; }
  bool NeedsInput(int i) const override { return i != 1 || !packed_b_; }
  size_t ScratchBytes(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
                      int workers) const override;
  double Flops(std::span<const TensorView> inputs, std::span<const TensorView> outputs) const override;
  void Run(KernelContext& context) const override;

 private:
  // Where things lie in the scratch memory, in floats.
  struct Layout {
    int64_t pack_a = 0, pack_a_step = 0;  // a worker
    int64_t pack_b = 0, pack_b_step = 0;  // a worker, or one for all
    int64_t c = 0, bias = 0, residual = 0;
    int64_t total = 0;
  };
  // One product of the batch.
  struct Product {
    MatrixView a, b;
    const float* packed_b = nullptr;  // null: plain rows
    float* c = nullptr;
    Epilogue epilogue;
  };

  MatMulShape ShapeOf(std::span<const TensorView> inputs) const;
  Layout LayOut(const MatMulShape& shape, std::span<const TensorView> inputs, int workers) const;
  Epilogue Finish(KernelContext& context, const Layout& layout, const Shape& output) const;
  Product Item(const KernelContext& context, const MatMulShape& shape, const Epilogue& epilogue, float* c,
               int64_t item) const;
  bool ReadsPlainB(const MatMulShape& shape) const;
  void PackPanels(const MatMulShape& shape, const MatrixView& b, int64_t first, int64_t last, float* to) const;
  void Part(const MatMulShape& shape, const Product& product, const GemmGrid& grid, int64_t task, float* pack_a,
            float* pack_b) const;
  void RunBatch(KernelContext& context, const MatMulShape& shape, const Layout& layout, const Epilogue& epilogue,
                float* c) const;
  void RunOne(KernelContext& context, const MatMulShape& shape, const Layout& layout, const Product& product) const;

  std::string name_;
  const MatrixKernels& kernels_;
  GemmSpec spec_;
  HalfCasts half_;
  std::shared_ptr<const PackedWeight> packed_b_;
  Shape b_shape_;  // of a packed B
};

}  // namespace ziggurat::cpu
