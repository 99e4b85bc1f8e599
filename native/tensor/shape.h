// Concrete shapes: at most kMaxRank dimensions, held inline so that a step's shapes need no allocation.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>

#include "base/error.h"

namespace ziggurat {

// Six dimensions cover windowed attention, eight what other engines allow; a model above it is refused by name.
inline constexpr int kMaxRank = 8;

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims) {
    for (int64_t dim : dims) push_back(dim);
  }

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return dims_[axis]; }
  int64_t& operator[](int axis) { return dims_[axis]; }
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + rank_; }
  std::span<const int64_t> span() const { return {dims_.data(), static_cast<size_t>(rank_)}; }

  void push_back(int64_t dim) {
    if (rank_ == kMaxRank) throw Error(Code::kUnsupported, "rank above ", kMaxRank, " is not supported");
    dims_[rank_++] = dim;
  }

  // Product of the dimensions from `first` up to, not including, `last`. Throws kInvalidArgument if it overflows.
  int64_t Count(int first, int last) const {
    int64_t count = 1;
    bool overflow = false;
    for (int i = first; i < last; ++i) {
      if (dims_[i] == 0) return 0;
      overflow |= __builtin_mul_overflow(count, dims_[i], &count);
    }
    if (overflow) throw Error(Code::kInvalidArgument, "element count of shape ", *this, " exceeds 2^63");
    return count;
  }
  int64_t Count() const { return Count(0, rank_); }

  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
      if (a.dims_[i] != b.dims_[i]) return false;
    return true;
  }
  friend std::ostream& operator<<(std::ostream& out, const Shape& shape) {
    out << '[';
    for (int i = 0; i < shape.rank_; ++i) out << (i ? "," : "") << shape.dims_[i];
    return out << ']';
  }

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

// Row-major strides in elements.
inline std::array<int64_t, kMaxRank> ContiguousStrides(const Shape& shape) {
  std::array<int64_t, kMaxRank> strides{};
  int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) strides[i] = step, step *= shape[i];
  return strides;
}

}  // namespace ziggurat
