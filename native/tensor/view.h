// A view of a tensor's elements: pointer, type, shape. Owns nothing.
//
// Views that steps exchange are dense and row-major; `strides` exists for the borders (a caller's strided array)
// and for kernels that declare they take it. Pointers are aligned to the element, steps' own outputs to 64 bytes.
#pragma once

#include <array>
#include <string>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace ziggurat {

// Of a dense tensor; strings count the size of their std::string headers. Throws kInvalidArgument beyond 2^63.
inline size_t DenseBytes(DType dtype, const Shape& shape) {
  const size_t element = dtype == DType::kString ? sizeof(std::string) : ByteSize(dtype);
  int64_t bytes;
  if (__builtin_mul_overflow(shape.Count(), static_cast<int64_t>(element), &bytes))
    throw Error(Code::kInvalidArgument, "a tensor of ", Name(dtype), " ", shape, " takes more than 2^63 bytes");
  return static_cast<size_t>(bytes);
}

struct TensorView {
  void* data = nullptr;
  DType dtype = DType::kUndefined;
  Shape shape;

  template <typename T>
  T* As() const {
    return static_cast<T*>(data);
  }
  int64_t Count() const { return shape.Count(); }
  size_t Bytes() const { return DenseBytes(dtype, shape); }
};

struct StridedView {
  TensorView view;
  std::array<int64_t, kMaxRank> strides{};  // in elements; may be 0 or negative
};

}  // namespace ziggurat
