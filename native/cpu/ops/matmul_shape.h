// The shapes of a matrix product as NumPy's matmul defines them, reduced to batches of plain matrices.
#pragma once

#include <array>
#include <cstdint>

#include "tensor/shape.h"

namespace ziggurat::cpu {

struct MatMulShape {
  int64_t m = 0, n = 0, k = 0;
  int64_t batch = 1;  // products; rows of A that meet one B are merged into m
  int64_t a_row = 0, a_column = 0, b_row = 0, b_column = 0;

  // Offsets, in elements, of the matrices of product `i`.
  int64_t AOffset(int64_t i) const { return Offset(i, a_strides_); }
  int64_t BOffset(int64_t i) const { return Offset(i, b_strides_); }
  int64_t COffset(int64_t i) const { return i * m * n; }

  // A vector is a row on the left and a column on the right. Throws kInvalidArgument where the shapes do not fit.
  MatMulShape(const Shape& a, const Shape& b, bool transpose_a, bool transpose_b);

 private:
  using Strides = std::array<int64_t, kMaxRank>;
  int64_t Offset(int64_t i, const Strides& strides) const {
    int64_t offset = 0;
    for (int axis = batch_rank_ - 1; axis >= 0; --axis) {
      offset += i % batch_dims_[axis] * strides[axis];
      i /= batch_dims_[axis];
    }
    return offset;
  }

  int batch_rank_ = 0;
  Strides batch_dims_{}, a_strides_{}, b_strides_{};
};

}  // namespace ziggurat::cpu
