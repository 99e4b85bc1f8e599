// Sliding windows: how convolutions and pools walk over spatial axes.
#pragma once

#include "device/reference/plain.h"
#include "device/reference/walk.h"

namespace ziggurat::plain {

// Far above any real kernel; a model that asks for more wants our memory.
inline constexpr int64_t kMaxTaps = int64_t{1} << 24;

struct Windows {
  size_t dims = 0;
  std::vector<int64_t> in, out, kernel, strides, dilations, begin;  // one number a spatial axis

  int64_t InCount() const { return Product(in); }
  int64_t OutCount() const { return Product(out); }
  int64_t Taps() const { return Product(kernel); }
  static int64_t Product(const std::vector<int64_t>& sizes) {
    int64_t count = 1;
    for (int64_t size : sizes) count *= size;
    return count;
  }
};

// `in` and `out` are [N, C, spatial...] shapes; pads come from the attributes, or from auto_pad and the output's size.
Windows ResolveWindows(const Args& args, const Shape& in, const Shape& out, std::vector<int64_t> kernel);

// The index of position `flat` (row-major) in `sizes`.
inline void Unflatten(int64_t flat, const std::vector<int64_t>& sizes, std::vector<int64_t>& index) {
  index.resize(sizes.size());
  for (size_t d = sizes.size(); d-- > 0;) index[d] = flat % sizes[d], flat /= sizes[d];
}

// Where tap `tap` of the window at output `at` reads: the flat input position, or -1 in the padding.
inline int64_t InputAt(const Windows& w, const std::vector<int64_t>& at, const std::vector<int64_t>& tap) {
  int64_t flat = 0;
  for (size_t d = 0; d < w.dims; ++d) {
    const int64_t i = at[d] * w.strides[d] + tap[d] * w.dilations[d] - w.begin[d];
    if (i < 0 || i >= w.in[d]) return -1;
    flat = flat * w.in[d] + i;
  }
  return flat;
}

// All taps' indices.
inline std::vector<std::vector<int64_t>> AllTaps(const Windows& w) {
  std::vector<std::vector<int64_t>> taps(static_cast<size_t>(w.Taps()));
  for (size_t t = 0; t < taps.size(); ++t) Unflatten(static_cast<int64_t>(t), w.kernel, taps[t]);
  return taps;
}

}  // namespace ziggurat::plain
