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

struct TensorView {
  void* data = nullptr;
  DType dtype = DType::kUndefined;
  Shape shape;

  template <typename T>
  T* As() const {
    return static_cast<T*>(data);
  }
  int64_t Count() const { return shape.Count(); }
  // Strings report the size of their std::string headers.
  size_t Bytes() const {
    return static_cast<size_t>(Count()) * (dtype == DType::kString ? sizeof(std::string) : ByteSize(dtype));
  }
};

struct StridedView {
  TensorView view;
  std::array<int64_t, kMaxRank> strides{};  // in elements; may be 0 or negative
};

}  // namespace ziggurat
