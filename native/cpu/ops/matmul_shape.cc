#include "cpu/ops/matmul_shape.h"

#include <algorithm>

namespace ziggurat::cpu {

MatMulShape::MatMulShape(const Shape& a, const Shape& b, bool transpose_a, bool transpose_b) {
  const int a_rank = a.rank(), b_rank = b.rank();
  if (a_rank == 0 || b_rank == 0)
    throw Error(Code::kInvalidArgument, "a matrix product needs ranks of 1 or more, got ", a, " and ", b);
  const int64_t a_rows = a_rank == 1 ? 1 : a[a_rank - 2], a_columns = a[a_rank - 1];
  const int64_t b_rows = b_rank == 1 ? b[0] : b[b_rank - 2], b_columns = b_rank == 1 ? 1 : b[b_rank - 1];
  transpose_a = transpose_a && a_rank > 1;
  transpose_b = transpose_b && b_rank > 1;
  m = transpose_a ? a_columns : a_rows;
  k = transpose_a ? a_rows : a_columns;
  n = transpose_b ? b_rows : b_columns;
  if ((transpose_b ? b_columns : b_rows) != k)
    throw Error(Code::kInvalidArgument, "inner dimensions differ in the product of ", a, " and ", b);
  a_row = transpose_a ? 1 : a_columns, a_column = transpose_a ? a_columns : 1;
  b_row = transpose_b ? 1 : b_columns, b_column = transpose_b ? b_columns : 1;

  const int a_batch = std::max(0, a_rank - 2), b_batch = std::max(0, b_rank - 2);
  // One B for all: the rows of all A follow one another.
  if (!transpose_a && b.Count(0, b_batch) == 1 && a_batch >= b_batch) {
    m *= a.Count(0, a_batch);
    return;
  }
  batch_rank_ = std::max(a_batch, b_batch);
  int64_t a_step = a_rows * a_columns, b_step = b_rows * b_columns;
  for (int axis = batch_rank_ - 1; axis >= 0; --axis) {
    const int ia = axis - (batch_rank_ - a_batch), ib = axis - (batch_rank_ - b_batch);
    const int64_t da = ia < 0 ? 1 : a[ia], db = ib < 0 ? 1 : b[ib];
    if (da != db && da != 1 && db != 1)
      throw Error(Code::kInvalidArgument, "batch dimensions of ", a, " and ", b, " do not broadcast");
    batch_dims_[axis] = da == 1 ? db : da;
    a_strides_[axis] = da == 1 ? 0 : a_step;
    b_strides_[axis] = db == 1 ? 0 : b_step;
    a_step *= da, b_step *= db;
    batch *= batch_dims_[axis];
  }
}

}  // namespace ziggurat::cpu
