// Slice, Expand and Tile: dense copies of strided views.
#include <string>

#include "cpu/ops/arguments.h"
#include "cpu/ops/registry.h"
#include "cpu/ops/strided.h"
#include "device/apart.h"

namespace ziggurat::cpu {
namespace {

class ViewCopyKernel : public Kernel {
 public:
  ViewCopyKernel(std::string_view op, int64_t element_bytes)
      : name_(Cat("copy.", op, ".", element_bytes * 8)), element_bytes_(element_bytes) {}
  std::string_view name() const override { return name_; }
  void Run(KernelContext& context) const override {
    const TensorView &x = context.inputs[0], &y = context.outputs[0];
    if (y.Count() == 0) return;
    StridedSource source{x.As<const std::byte>(), element_bytes_, {}, {}};
    Describe(context, source);
    if (source.dims.Count() != y.Count())
      throw Error(Code::kInvalidArgument, "the result has shape ", source.dims, " where ", y.shape, " was planned");
    if (source.data == y.data) return;  // the plan let the result be seen where it lies (runtime/parts.h)
    CopyStrided(context.team, source, y.As<std::byte>());
  }

 protected:
  // Fills in dims and strides, and moves `data` to the first element.
  virtual void Describe(const KernelContext& context, StridedSource& source) const = 0;

 private:
  std::string name_;
  int64_t element_bytes_;
};

class SliceKernel final : public ViewCopyKernel, public ReadsApart {
 public:
  using ViewCopyKernel::ViewCopyKernel;
  bool TakesApart(int input) const override { return input == 0; }

 private:
  void Describe(const KernelContext& context, StridedSource& source) const override {
    const Shape& shape = context.inputs[0].shape;
    const auto given = [&](size_t i) { return context.inputs.size() > i && context.inputs[i].data; };
    const auto starts = ReadInts(context.inputs[1]), ends = ReadInts(context.inputs[2]);
    const auto axes = given(3) ? ReadInts(context.inputs[3]) : std::vector<int64_t>{};
    const auto steps = given(4) ? ReadInts(context.inputs[4]) : std::vector<int64_t>(starts.size(), 1);
    if (ends.size() != starts.size() || steps.size() != starts.size() || (given(3) && axes.size() != starts.size()))
      throw Error(Code::kInvalidArgument, "starts, ends, axes and steps differ in length");
    source.dims = shape;
    source.strides = ContiguousStrides(shape);
    const int64_t width = shape.rank() ? shape[shape.rank() - 1] : 1, pitch = InputPitch(0, width);
    for (int axis = 0; pitch != width && axis + 1 < shape.rank(); ++axis)
      source.strides[axis] = source.strides[axis] / width * pitch;
    int64_t offset = 0;
    for (size_t i = 0; i < starts.size(); ++i) {
      const int axis = ResolveAxis(given(3) ? axes[i] : static_cast<int64_t>(i), shape.rank());
      offset += Cut(shape[axis], starts[i], ends[i], steps[i], source.dims[axis], source.strides[axis]);
    }
    source.data += offset * source.element_bytes;
  }

  // Narrows an axis; returns how far its first element lies from index 0, in elements.
  static int64_t Cut(int64_t size, int64_t start, int64_t end, int64_t step, int64_t& dim, int64_t& stride) {
    if (step == 0) throw Error(Code::kInvalidArgument, "a step of 0");
    const bool forward = step > 0;
    // ONNX clamps a start into the axis, but lets the end of a walk backwards lie before its first element.
    const auto clamp = [&](int64_t at, int64_t low) {
      if (at < 0) at = at < -size ? -1 : at + size;
      return std::min(std::max(at, low), forward ? size : size - 1);
    };
    start = clamp(start, 0), end = clamp(end, forward ? 0 : -1);
    const int64_t span = forward ? end - start : start - end;
    // |step| without overflow for the least int64.
    const uint64_t distance = forward ? static_cast<uint64_t>(step) : 0 - static_cast<uint64_t>(step);
    dim = span <= 0 ? 0 : static_cast<int64_t>((static_cast<uint64_t>(span) - 1) / distance) + 1;
    const int64_t offset = dim == 0 ? 0 : start * stride;
    stride = dim <= 1 ? stride : stride * step;
    return offset;
  }
};

class ExpandKernel final : public ViewCopyKernel {
 public:
  using ViewCopyKernel::ViewCopyKernel;

 private:
  void Describe(const KernelContext& context, StridedSource& source) const override {
    const Shape &from = context.inputs[0].shape, &to = context.outputs[0].shape;
    const auto strides = ContiguousStrides(from);
    const int lead = to.rank() - from.rank();
    source.dims = to;
    for (int axis = 0; axis < from.rank(); ++axis) {
      if (from[axis] != 1 && from[axis] != to[lead + axis])
        throw Error(Code::kInvalidArgument, "shape ", from, " does not expand to ", to);
      source.strides[lead + axis] = from[axis] == 1 ? 0 : strides[axis];
    }
  }
};

// Each repeated axis becomes two: the repeats, which do not move, and the axis.
class TileKernel final : public ViewCopyKernel {
 public:
  using ViewCopyKernel::ViewCopyKernel;

 private:
  void Describe(const KernelContext& context, StridedSource& source) const override {
    const Shape& shape = context.inputs[0].shape;
    const auto repeats = ReadInts(context.inputs[1]);
    const auto strides = ContiguousStrides(shape);
    if (static_cast<int>(repeats.size()) != shape.rank())
      throw Error(Code::kInvalidArgument, repeats.size(), " repeats for rank ", shape.rank());
    for (int axis = 0; axis < shape.rank(); ++axis) {
      if (repeats[axis] != 1) source.dims.push_back(repeats[axis]);  // its stride stays 0
      if (shape[axis] == 1) continue;
      source.strides[source.dims.rank()] = strides[axis];
      source.dims.push_back(shape[axis]);
    }
  }
};

template <typename KernelType>
std::unique_ptr<Kernel> Make(KernelSite& site, const KernelTable&) {
  const Node& node = site.node();
  const auto bytes = static_cast<int64_t>(ByteSize(node.Input(0)->type.dtype));
  if (bytes == 0) return nullptr;
  return std::make_unique<KernelType>(node.op->name, bytes);
}

std::unique_ptr<Kernel> MakeTile(KernelSite& site, const KernelTable& table) {
  // Above this rank the doubled axes may not fit a Shape.
  const Type& type = site.node().Input(0)->type;
  return type.HasRank() && type.Rank() <= kMaxRank / 2 ? Make<TileKernel>(site, table) : nullptr;
}

constexpr KernelEntry kEntries[] = {
    {"Slice", Make<SliceKernel>},
    {"Expand", Make<ExpandKernel>},
    {"Tile", MakeTile},
};

}  // namespace

std::span<const KernelEntry> SliceKernels() { return kEntries; }

}  // namespace ziggurat::cpu
