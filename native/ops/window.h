// Sliding windows: the attributes that convolutions and pools share, and the sizes that follow.
#pragma once

#include <string>
#include <vector>

#include "ops/infer.h"

namespace ziggurat {

struct Windows {
  std::vector<int64_t> kernel, strides, dilations;  // one per spatial axis
  std::vector<int64_t> begin, end;                  // padding; of SAME_* only known with the input's size
  std::string auto_pad;                             // NOTSET, VALID, SAME_UPPER, SAME_LOWER
  bool ceil_mode = false;

  bool Same() const { return auto_pad[0] == 'S'; }
  // The extent a dilated kernel covers.
  int64_t Extent(size_t axis) const { return (kernel[axis] - 1) * dilations[axis] + 1; }
  Dim OutputSize(const InferContext& c, size_t axis, const Dim& in) const;
  // Size of a transposed convolution's output.
  Dim TransposedSize(size_t axis, const Dim& in, int64_t output_padding) const;
};

// Reads and checks the node's attributes for `axes` spatial axes. `kernel` is used where the node has no kernel_shape.
Windows ReadWindows(const InferContext& c, int axes, std::vector<int64_t> kernel = {});

// A shape [N, C, spatial...] of one that keeps its channels last, [N, spatial..., C], and the way back. Ranks from 2.
std::vector<Dim> ChannelsFirst(std::vector<Dim> shape);
std::vector<Dim> ChannelsLast(std::vector<Dim> shape);

}  // namespace ziggurat
