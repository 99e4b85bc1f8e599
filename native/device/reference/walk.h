// Positions: the offsets at which a strided (broadcast, transposed, sliced) view of a tensor has its elements.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "tensor/shape.h"

namespace ziggurat::plain {

using Strides = std::array<int64_t, kMaxRank>;

// Kernels work on runs of this many elements: their values and offsets stay in the first-level cache.
inline constexpr int64_t kRun = 512;

// Strides (in elements) by which a tensor of `shape` is read over `out`, NumPy broadcasting; throws where it cannot be.
inline Strides BroadcastStrides(const Shape& shape, const Shape& out) {
  const Strides own = ContiguousStrides(shape);
  Strides strides{};
  const int lead = out.rank() - shape.rank();
  bool fits = lead >= 0;
  for (int axis = 0; fits && axis < shape.rank(); ++axis) {
    fits = shape[axis] == 1 || shape[axis] == out[lead + axis];
    strides[lead + axis] = shape[axis] == 1 ? 0 : own[axis];
  }
  if (!fits) throw Error(Code::kInvalidArgument, "shape ", shape, " cannot be broadcast to ", out);
  return strides;
}

// Visits `shape` in row-major order and yields base + sum(index * stride).
class Walk {
 public:
  Walk(const Shape& shape, const Strides& strides, int64_t base = 0) : shape_(shape), strides_(strides), base_(base) {}

  // Offsets of the next `count` positions.
  void Next(int64_t count, int64_t* out) {
    const int last = shape_.rank() - 1;
    for (int64_t done = 0; done < count;) {
      if (last < 0) {
        out[done++] = base_;
        continue;
      }
      const int64_t run = std::min(count - done, shape_[last] - index_[last]);
      for (int64_t i = 0; i < run; ++i) out[done + i] = base_ + i * strides_[last];
      done += run;
      Advance(run);
    }
  }

  // The index of the next position, axis by axis.
  const std::array<int64_t, kMaxRank>& index() const { return index_; }
  int64_t offset() const { return base_; }
  void Advance(int64_t run = 1) {
    int axis = shape_.rank() - 1;
    if (axis < 0) return;
    index_[axis] += run;
    base_ += run * strides_[axis];
    for (; axis > 0 && index_[axis] == shape_[axis]; --axis) {
      base_ += strides_[axis - 1] - shape_[axis] * strides_[axis];
      index_[axis] = 0;
      ++index_[axis - 1];
    }
  }

 private:
  Shape shape_;
  Strides strides_;
  int64_t base_;
  std::array<int64_t, kMaxRank> index_{};
};

// Calls f(first, count) for consecutive runs that cover [0, total).
template <typename F>
void ForRuns(int64_t total, F&& f) {
  for (int64_t first = 0; first < total; first += kRun) f(first, std::min(kRun, total - first));
}

// All offsets of a view at once.
inline std::vector<int64_t> AllOffsets(const Shape& shape, const Strides& strides, int64_t base = 0) {
  std::vector<int64_t> out(static_cast<size_t>(shape.Count()));
  Walk(shape, strides, base).Next(static_cast<int64_t>(out.size()), out.data());
  return out;
}

// A tensor seen as [outer, axis, inner].
struct AxisView {
  int64_t outer, size, inner;
  AxisView(const Shape& shape, int axis)
      : outer(shape.Count(0, axis)), size(shape[axis]), inner(shape.Count(axis + 1, shape.rank())) {}
};

}  // namespace ziggurat::plain
