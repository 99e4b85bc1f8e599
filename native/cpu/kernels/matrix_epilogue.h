// What happens to a finished tile of a product while it is in the first-level cache.
#pragma once

#include <cstdint>

#include "cpu/kernels/vector_elementwise.h"

namespace ziggurat::cpu {

// y = activation(scale * product + bias_scale * column_bias + row_bias + residual_scale * residual), each operation
// rounded by itself, so that the result has the bits of the separate ops. The activation is a function or, for Relu and
// Clip, bounds that are met while y is in a register.
struct Epilogue {
  float scale = 1;
  const float* column_bias = nullptr;  // one a column
  float bias_scale = 1;                // of column_bias
  const float* row_bias = nullptr;     // one a row
  const float* residual = nullptr;
  int64_t residual_row = 0;     // distance of two rows; 0 repeats one
  int64_t residual_column = 1;  // 1, or 0 to repeat one element
  float residual_scale = 1;
  UnaryFn activation = nullptr;
  ElementParams params;  // of the activation
  bool clamps = false;   // y is min(max(y, low), high); a NaN stays
  float low = 0, high = 0;

  bool IsIdentity() const { return scale == 1 && !column_bias && !row_bias && !residual && !activation && !clamps; }
};

}  // namespace ziggurat::cpu
