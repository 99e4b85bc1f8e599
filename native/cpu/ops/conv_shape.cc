#include "cpu/ops/conv_shape.h"

#include <algorithm>

namespace ziggurat::cpu {

bool ConvNode::Read(const Node& node, int rank) {
  axes = rank - 2;
  if (axes < 1 || axes > 3) return false;
  group = node.Int("group", 1);
  auto_pad = node.String("auto_pad", "NOTSET");
  const auto read = [&](const char* name, std::array<int64_t, 3>& to) {
    const std::vector<int64_t> values = node.Ints(name);
    for (int i = 0; i < axes && i < static_cast<int>(values.size()); ++i) to[3 - axes + i] = values[i];
  };
  read("strides", strides), read("dilations", dilations);
  if (auto_pad == "NOTSET" || auto_pad.empty()) read("pads", pads);
  return group >= 1;
}

ConvShape ConvNode::Resolve(const Shape& input, const Shape& weights, const Shape& output) const {
  ConvShape s;
  s.channels = weights[1], s.out_channels = weights[0] / group;
  for (int i = 0; i < axes; ++i) {
    const int at = 3 - axes + i;
    s.in[at] = input[2 + i], s.kernel[at] = weights[2 + i], s.out[at] = output[2 + i];
    s.stride[at] = strides[at], s.dilation[at] = dilations[at], s.pad[at] = pads[at];
    if (auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER") {
      const int64_t reach = (s.out[at] - 1) * s.stride[at] + (s.kernel[at] - 1) * s.dilation[at] + 1;
      const int64_t total = std::max<int64_t>(0, reach - s.in[at]);
      s.pad[at] = auto_pad == "SAME_UPPER" ? total / 2 : total - total / 2;
    }
  }
  return s;
}

}  // namespace ziggurat::cpu
