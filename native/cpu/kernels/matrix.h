// The matrix family: GEMM, matrix-vector, convolution and packing kernels of one instruction set.
//
// Order of summation, the same in every kernel here, packed or not, one row or many: K is cut in blocks of kKBlock;
// a block is summed from zero in ascending k, block sums are added in ascending order. An output element therefore
// depends on its own row, its own column and K only. All work for one thread; native/cpu/ops/ splits it.
//
// Packed A: rows are cut into tiles of at most `mr` rows (TileHeight), a tile is [K / kKBlock][height][kKBlock], so
// that a row's elements lie at constant distances. Packed B: [N / nr][K][nr]. Both are zero-padded, 64-byte aligned.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/kernels/matrix_conv.h"
#include "cpu/kernels/matrix_conv_last.h"
#include "cpu/kernels/matrix_epilogue.h"
#include "cpu/kernels/matrix_int8.h"
#include "tensor/dtype.h"

namespace ziggurat::cpu {

// Error of a K = 3072 dot product: one long chain has 5 times that of blocks of 128. A constant, never tuned: it is
// part of every result's bits.
inline constexpr int64_t kKBlock = 128;

// Packed A of m rows: `count` tiles, the first `taller` of height base + 1, the rest of height base.
struct Tiling {
  int64_t count = 0;
  int64_t base = 0;
  int64_t taller = 0;
};
constexpr Tiling TileRows(int64_t m, int64_t mr) {
  if (m <= 0) return {};
  const int64_t count = (m + mr - 1) / mr;
  return {count, m / count, m % count};
}
constexpr int64_t TileStart(const Tiling& t, int64_t tile) {
  return tile * t.base + (tile < t.taller ? tile : t.taller);
}

constexpr int64_t RoundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// A matrix of float32, float16 or bfloat16 with any strides, in elements.
struct MatrixView {
  const void* data = nullptr;
  DType dtype = DType::kFloat32;
  int64_t row = 0;     // distance of two rows
  int64_t column = 1;  // distance of two columns
};

// C[m, n] = epilogue(A[m, k] B[k, n]), float32.
struct GemmArgs {
  int64_t m = 0, n = 0, k = 0;
  MatrixView a;                     // unless a_packed
  const float* a_packed = nullptr;  // whole tiles of rows 0..m
  const void* b = nullptr;          // packed, or (b_step != nr) the plain rows of B
  DType b_dtype = DType::kFloat32;  // float16 and bfloat16 only packed
  int64_t b_step = 0;               // distance of two k, in elements: nr when packed, else the row stride
  int64_t b_panel = 0;              // distance of two panels of nr columns
  float* c = nullptr;
  int64_t c_row = 0;
  Epilogue epilogue;
  float* scratch = nullptr;  // gemm_scratch floats, 64-byte aligned
  float* wide = nullptr;     // wide_floats floats, 64-byte aligned, where B has 16 bits
};

// What the op layer decides on: which element of C a job reaches.
struct PackBArgs {
  MatrixView b;  // k rows, n columns
  int64_t k = 0, n = 0;
  int64_t first_panel = 0, last_panel = 0;  // [first, last)
  float* packed = nullptr;                  // of panel 0
};

// Packs w [n, k] of 16-bit elements as the B = w^T of a product: [n / nr][k][nr], zero-padded. A copy of bits.
struct PackHalfArgs {
  const uint16_t* w = nullptr;
  int64_t k = 0, n = 0;
  int64_t first_panel = 0, last_panel = 0;  // [first, last)
  uint16_t* packed = nullptr;               // of panel 0
};

// Kernels of dtypes without a tuned one: C = A B by the same order of summation for float64; integers wrap around.
struct PlainGemmArgs {
  int64_t m = 0, n = 0, k = 0;
  const void* a = nullptr;
  int64_t a_row = 0, a_column = 0;
  const void* b = nullptr;
  int64_t b_row = 0, b_column = 0;
  void* c = nullptr;
  int64_t c_row = 0;
};
using PlainGemmFn = void (*)(const PlainGemmArgs& args);

struct MatrixKernels {
  int mr;  // rows and
  int nr;  // columns of the register tile
  void (*gemm)(const GemmArgs& args);
  int64_t (*gemm_scratch)(int64_t m, int64_t k);  // floats
  void (*pack_a)(const MatrixView& a, int64_t m, int64_t k, float* packed);
  void (*pack_b)(const PackBArgs& args);
  void (*pack_half)(const PackHalfArgs& args);
  int64_t wide_floats;                     // of GemmArgs::wide
  PlainGemmFn (*plain_gemm)(DType dtype);  // float64, int32, uint32, int64, uint64; null for others
  const Int8Kernels* int8;
  void (*conv)(const ConvArgs& args);
  int64_t (*conv_scratch)(const ConvShape& shape);  // floats
  void (*fold)(const FoldArgs& args);
  // One channel in, one out, for channels [first_tile, last_tile): out_channels and channels of the shape are 1.
  void (*depthwise)(const ConvArgs& args);
  int64_t (*depthwise_scratch)(const ConvShape& shape);  // floats
  const LastConvKernels* last;                           // of tensors whose channels come last
};

inline int64_t PackedAFloats(const MatrixKernels& kernels, int64_t m, int64_t k) {
  (void)kernels;
  return m * RoundUp(k, kKBlock);
}
inline int64_t PackedBFloats(const MatrixKernels& kernels, int64_t k, int64_t n) { return RoundUp(n, kernels.nr) * k; }

}  // namespace ziggurat::cpu
