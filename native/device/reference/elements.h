// Elements of any numeric dtype, read into and written from four compute types: double for floats, int64_t and
// uint64_t for integers and bool, std::complex<double> for complex. A kernel written once on these serves all dtypes.
//
// Precision: floats up to 32 bits are computed in double and rounded once when stored, so a single operation is
// correctly rounded and sums carry 29 spare bits. Integers wrap around at the width of the dtype they are stored in.
#pragma once

#include <complex>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "tensor/view.h"

namespace ziggurat::plain {

using Complex = std::complex<double>;

// A real number as an integer, as x86 hardware does it: truncated, the most negative number where it does not fit.
int64_t TruncateToInt64(double value);
int32_t TruncateToInt32(double value);
uint64_t TruncateToUint64(double value);

// `count` elements from index `first`, or at `offsets`. Conversions are those of Cast.
template <typename C>
void Load(const TensorView& view, int64_t first, int64_t count, C* out);
template <typename C>
void LoadAt(const TensorView& view, const int64_t* offsets, int64_t count, C* out);
template <typename C>
void Store(const TensorView& view, int64_t first, int64_t count, const C* in);

template <typename C>
std::vector<C> LoadAll(const TensorView& view) {
  std::vector<C> out(static_cast<size_t>(view.Count()));
  Load<C>(view, 0, static_cast<int64_t>(out.size()), out.data());
  return out;
}
template <typename C>
void StoreAll(const TensorView& view, const std::vector<C>& values) {
  ZIGGURAT_CHECK(static_cast<int64_t>(values.size()) == view.Count());
  Store<C>(view, 0, view.Count(), values.data());
}
template <typename C>
C LoadOne(const TensorView& view, int64_t index = 0) {
  if (index >= view.Count())
    throw Error(Code::kInvalidArgument, "a tensor of shape ", view.shape, " has no element ", index);
  C value;
  Load<C>(view, index, 1, &value);
  return value;
}
template <typename C>
void StoreOne(const TensorView& view, int64_t index, C value) {
  Store<C>(view, index, 1, &value);
}

// Calls f(C{}) with the compute type of `dtype`. Strings have none: kUnsupported.
template <typename F>
auto WithComputeType(DType dtype, F&& f) {
  if (IsFloat(dtype)) return f(double{});
  if (IsSignedInteger(dtype)) return f(int64_t{});
  if (IsUnsignedInteger(dtype) || dtype == DType::kBool) return f(uint64_t{});
  if (IsComplex(dtype)) return f(Complex{});
  throw Error(Code::kUnsupported, "no arithmetic on elements of type ", Name(dtype));
}
// The same without complex numbers.
template <typename F>
auto WithRealType(DType dtype, F&& f) {
  if (IsFloat(dtype)) return f(double{});
  if (IsSignedInteger(dtype)) return f(int64_t{});
  if (IsUnsignedInteger(dtype) || dtype == DType::kBool) return f(uint64_t{});
  throw Error(Code::kUnsupported, "not defined for elements of type ", Name(dtype));
}

template <typename C>
bool IsNan(C x) {
  if constexpr (std::is_same_v<C, double>)
    return x != x;
  else
    return false;
}

// Sums and products that wrap around instead of overflowing.
template <typename C>
C WrapAdd(C a, C b) {
  if constexpr (std::is_same_v<C, int64_t>)
    return static_cast<C>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  else
    return a + b;
}
template <typename C>
C WrapSub(C a, C b) {
  if constexpr (std::is_same_v<C, int64_t>)
    return static_cast<C>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
  else
    return a - b;
}
template <typename C>
C WrapMul(C a, C b) {
  if constexpr (std::is_same_v<C, int64_t>)
    return static_cast<C>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  else
    return a * b;
}

}  // namespace ziggurat::plain
