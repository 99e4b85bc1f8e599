// A convolution node's attributes, joined with the shapes of one run.
#pragma once

#include <array>
#include <string>

#include "cpu/kernels/matrix_conv.h"
#include "ir/graph.h"
#include "tensor/shape.h"

namespace ziggurat::cpu {

struct ConvNode {
  int64_t group = 1;
  std::array<int64_t, 3> strides{1, 1, 1}, dilations{1, 1, 1}, pads{0, 0, 0};  // pads before the data
  std::string auto_pad;
  int axes = 0;  // spatial: 1 to 3

  // False: more spatial axes than kernels know.
  bool Read(const Node& node, int rank);
  // One group of one image. Spatial axes are right-aligned in the three.
  ConvShape Resolve(const Shape& input, const Shape& weights, const Shape& output) const;
};

}  // namespace ziggurat::cpu
