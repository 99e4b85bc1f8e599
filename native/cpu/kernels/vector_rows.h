// Kernels that see a whole row: softmax, normalisations, reductions. float32; other floats are converted row by row.
//
// A reduction's result depends on its row only. Along contiguous memory one fixed lane tree is used (vector_tree.h);
// along strided memory ("columns") the rows are added in ascending order, in blocks of 128 that start from zero.
#pragma once

#include <cstdint>

namespace ziggurat::cpu {

enum class ReduceOp : uint8_t { kSum, kProd, kMax, kMin, kSumAbs, kSumSquare };

struct Moments {
  float mean;
  float variance;  // mean of (x - mean)^2
};

// `rows` contiguous rows of n elements. y may be x.
struct NormArgs {
  const float* x;
  const float* residual;  // null, or added to x first
  float* sum;             // null, or gets x + residual
  float* y;
  const float* scale;  // n values; null: 1
  const float* bias;   // n values; null: 0
  float* mean;         // null, or one value a row
  float* inv_std;      // null, or one value a row
  int64_t rows;
  int64_t n;
  float epsilon;
};

struct LrnArgs {
  const float* x;  // one item: channels x columns, rows `columns` apart
  float* y;
  int64_t channels, columns;
  int64_t column_begin, column_end;  // the part of each row to do
  int64_t size;
  float alpha, beta, bias;
};

// A pixel's channels between the zeros that a window reads beyond them, and room for a whole register.
inline int64_t LrnLastScratch(const LrnArgs& args) { return args.channels + args.size + 32; }

struct RowKernels {
  void (*softmax)(const float* x, float* y, int64_t rows, int64_t n);
  void (*log_softmax)(const float* x, float* y, int64_t rows, int64_t n);
  // Along the first of two dimensions: element k of a column is x[k * stride]. `columns` neighbouring columns.
  void (*softmax_columns)(const float* x, float* y, int64_t n, int64_t stride, int64_t columns);
  void (*log_softmax_columns)(const float* x, float* y, int64_t n, int64_t stride, int64_t columns);
  void (*layer_norm)(const NormArgs& args);
  void (*rms_norm)(const NormArgs& args);
  Moments (*moments)(const float* x, int64_t n);
  float (*reduce)(ReduceOp op, const float* x, int64_t n);
  float (*log_sum_exp)(const float* x, int64_t n);
  // y[c] = op over k < n of x[k * stride + c], c < columns.
  void (*reduce_columns)(ReduceOp op, const float* x, float* y, int64_t n, int64_t stride, int64_t columns);
  // Divides by (bias + alpha / size * sum of squares of the `size` nearest channels)^beta.
  void (*lrn)(const LrnArgs& args);
  // The same where channels come last, x [pixels, channels], of pixels [first, last). `padded`: LrnLastScratch floats.
  void (*lrn_last)(const LrnArgs& args, int64_t first, int64_t last, float* padded);
};

}  // namespace ziggurat::cpu
