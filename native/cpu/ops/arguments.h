// Reading the small integer tensors and axes that decide what a kernel does.
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "tensor/view.h"

namespace ziggurat::cpu {

// The elements of an int32 or int64 tensor.
inline std::vector<int64_t> ReadInts(const TensorView& view) {
  const int64_t n = view.Count();
  if (view.dtype == DType::kInt32) return {view.As<const int32_t>(), view.As<const int32_t>() + n};
  if (view.dtype == DType::kInt64) return {view.As<const int64_t>(), view.As<const int64_t>() + n};
  throw Error(Code::kInvalidArgument, "int32 or int64 is needed, not ", Name(view.dtype));
}

inline int ResolveAxis(int64_t axis, int rank) {
  const int64_t resolved = axis < 0 ? axis + rank : axis;
  if (resolved < 0 || resolved >= rank)
    throw Error(Code::kInvalidArgument, "axis ", axis, " is out of range for rank ", rank);
  return static_cast<int>(resolved);
}

}  // namespace ziggurat::cpu
