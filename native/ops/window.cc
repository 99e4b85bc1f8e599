#include "ops/window.h"

#include <algorithm>

#include "ops/rules.h"

namespace ziggurat {
namespace {

// An attribute with one value per axis (or `count` values), or all `fallback`.
std::vector<int64_t> PerAxis(const InferContext& c, std::string_view name, size_t count, int64_t fallback,
                             int64_t least) {
  std::vector<int64_t> values = c.node().Ints(name);
  if (values.empty()) return std::vector<int64_t>(count, fallback);
  if (values.size() != count) c.Fail(name, " has ", values.size(), " values, expected ", count);
  for (int64_t value : values) {
    if (value < least) c.Fail(name, " holds ", value, ", the least is ", least);
    // Keeps products of attributes within 64 bits.
    if (value > INT32_MAX) c.Fail(name, " holds ", value, ", the most is ", INT32_MAX);
  }
  return values;
}

}  // namespace

Windows ReadWindows(const InferContext& c, int axes, std::vector<int64_t> kernel) {
  Windows w;
  const size_t count = static_cast<size_t>(axes);
  w.kernel = c.node().Has("kernel_shape") ? PerAxis(c, "kernel_shape", count, 1, 1) : std::move(kernel);
  if (w.kernel.size() != count) c.Fail("kernel has ", w.kernel.size(), " axes, expected ", count);
  w.strides = PerAxis(c, "strides", count, 1, 1);
  w.dilations = PerAxis(c, "dilations", count, 1, 1);
  w.auto_pad = c.node().op->FindAttribute("auto_pad")
                   ? Choice(c, "auto_pad", {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", ""})
                   : "NOTSET";
  if (w.auto_pad.empty()) w.auto_pad = "NOTSET";
  w.ceil_mode = c.node().Int("ceil_mode") != 0;
  const std::vector<int64_t> pads = PerAxis(c, "pads", 2 * count, 0, 0);
  if (w.auto_pad == "NOTSET") {
    w.begin.assign(pads.begin(), pads.begin() + axes);
    w.end.assign(pads.begin() + axes, pads.end());
  } else {
    w.begin.assign(count, 0);
    w.end.assign(count, 0);
  }
  return w;
}

Dim Windows::OutputSize(const InferContext& c, size_t axis, const Dim& in) const {
  const Dim stride = strides[axis];
  if (Same()) return CeilDiv(in, stride);
  const Dim slack = in + Dim(begin[axis]) + Dim(end[axis]) - Dim(Extent(axis));
  if (slack.IsConst() && slack.Const() < 0)
    c.Fail("a window of ", Extent(axis), " does not fit into ", in.Const(), " with padding ", begin[axis], " and ",
           end[axis]);
  if (!ceil_mode || auto_pad == "VALID") return FloorDiv(slack, stride) + Dim(1);
  // A window that would start in the end padding is left out.
  return Min(CeilDiv(slack, stride), FloorDiv(in + Dim(begin[axis]) - Dim(1), stride)) + Dim(1);
}

Dim Windows::TransposedSize(size_t axis, const Dim& in, int64_t output_padding) const {
  if (Same()) return in * Dim(strides[axis]);
  return (in - Dim(1)) * Dim(strides[axis]) + Dim(output_padding) + Dim(Extent(axis)) - Dim(begin[axis]) -
         Dim(end[axis]);
}

std::vector<Dim> ChannelsFirst(std::vector<Dim> shape) {
  std::rotate(shape.begin() + 1, shape.end() - 1, shape.end());
  return shape;
}

std::vector<Dim> ChannelsLast(std::vector<Dim> shape) {
  std::rotate(shape.begin() + 1, shape.begin() + 2, shape.end());
  return shape;
}

}  // namespace ziggurat
