// Copies of elements that do not look at their values: any dtype, strings included.
#pragma once

#include "device/reference/walk.h"
#include "tensor/view.h"

namespace ziggurat::plain {

// to[first + i] = from[offsets[i]]
void Gather(const TensorView& from, const int64_t* offsets, int64_t count, const TensorView& to, int64_t first);
// to[offsets[i]] = from[first + i], in order
void Scatter(const TensorView& from, int64_t first, int64_t count, const TensorView& to, const int64_t* offsets);
// to[to_first + i] = from[from_first + i]
void CopyRun(const TensorView& from, int64_t from_first, const TensorView& to, int64_t to_first, int64_t count);
// Element `index` of `from` (or zero / the empty string where `from` has no data) into to[first, first + count).
void Fill(const TensorView& from, int64_t index, const TensorView& to, int64_t first, int64_t count);
// The elements of `from` seen through `strides` over to's shape, from `base`.
void CopyStrided(const TensorView& from, const Strides& strides, int64_t base, const TensorView& to);

// For each axis of `to`, which index of `from`'s axis each position takes; -1: the fill element.
using AxisMaps = std::vector<std::vector<int64_t>>;
void CopyMapped(const TensorView& from, const AxisMaps& maps, const TensorView& to, const TensorView& fill = {});

}  // namespace ziggurat::plain
