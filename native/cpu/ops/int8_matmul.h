// Products of 8-bit matrices over a team: exact sums, so that no cut, packing or instruction set changes a result.
#pragma once

#include <memory>

#include "cpu/kernel_table.h"
#include "cpu/ops/matmul_shape.h"
#include "device/device.h"

namespace ziggurat::cpu {

class Int8MatMul {
 public:
  // Packs input `b` if it is a constant matrix.
  Int8MatMul(KernelSite& site, const KernelTable& table, int b);

  struct Operands {
    TensorView a, b;                     // b unless it is packed
    const TensorView* a_zero = nullptr;  // one element; null: 0
    const TensorView* b_zero = nullptr;  // one element, or one a column; null: 0
    const Int8Finish* finish = nullptr;  // null: the sums themselves
    void* out = nullptr;
    int64_t element = 4;  // bytes of out's
  };

  bool packed() const { return packed_ != nullptr; }
  MatMulShape ShapeOf(const TensorView& a, const TensorView& b) const {
    return {a.shape, packed_ ? b_shape_ : b.shape, false, false};
  }
  int64_t ScratchBytes(const MatMulShape& shape, int workers) const { return LayOut(shape, workers).total * 4; }
  void Run(const Team& team, const MatMulShape& shape, const Operands& operands, std::byte* scratch) const;

  static double Flops(const MatMulShape& shape) {
    return 2.0 * static_cast<double>(shape.batch) * static_cast<double>(shape.m * shape.n) *
           static_cast<double>(shape.k);
  }

 private:
  // In words.
  struct Layout {
    int64_t worker = 0, worker_step = 0, zeros = 0, b = 0, total = 0;
  };

  int64_t Panels(int64_t n) const { return (n + kernels_.nr - 1) / kernels_.nr; }
  int64_t PanelWords(int64_t k) const { return kernels_.int8->packed_b_words(k, kernels_.nr); }
  Layout LayOut(const MatMulShape& shape, int workers) const;
  void PackPanels(const void* b, const MatMulShape& shape, int64_t first, int64_t last, int32_t* to) const;
  void RunItem(const Team& team, const MatMulShape& shape, const Int8GemmArgs& item, int64_t element, int32_t* scratch,
               const Layout& layout) const;

  const MatrixKernels& kernels_;
  bool b_signed_ = true;
  std::shared_ptr<const PackedWeight> packed_;
  Shape b_shape_;  // of a packed B
};

}  // namespace ziggurat::cpu
