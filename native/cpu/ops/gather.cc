// Gather, GatherElements, GatherND and the scatters without arithmetic. Every index is checked before it is used.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "cpu/ops/arguments.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"
#include "cpu/ops/strided.h"

namespace ziggurat::cpu {
namespace {

// Index tensors of int32 or int64, with negative indices counting from the end.
class Indices {
 public:
  explicit Indices(const TensorView& view) : data_(view.data), wide_(view.dtype == DType::kInt64) {
    if (!wide_ && view.dtype != DType::kInt32)
      throw Error(Code::kInvalidArgument, "indices of type ", Name(view.dtype));
  }
  int64_t At(int64_t i, int64_t limit) const {
    const int64_t index = wide_ ? static_cast<const int64_t*>(data_)[i] : static_cast<const int32_t*>(data_)[i];
    const int64_t resolved = index < 0 ? index + limit : index;
    if (resolved < 0 || resolved >= limit)
      throw Error(Code::kInvalidArgument, "index ", index, " at position ", i, " is out of range for a dimension of ",
                  limit);
    return resolved;
  }

 private:
  const void* data_;
  bool wide_;
};

void CopyElement(std::byte* to, const std::byte* from, int64_t bytes) {
  switch (bytes) {
    case 1:
      *to = *from;
      break;
    case 2:
      std::memcpy(to, from, 2);
      break;
    case 4:
      std::memcpy(to, from, 4);
      break;
    case 8:
      std::memcpy(to, from, 8);
      break;
    default:
      std::memcpy(to, from, static_cast<size_t>(bytes));
  }
}

class GatherFamilyKernel : public Kernel {
 public:
  GatherFamilyKernel(const Node& node, int64_t element_bytes)
      : name_(Cat("gather.", node.op->name, ".", element_bytes * 8)),
        bytes_(element_bytes),
        axis_(node.Int("axis", 0)),
        batch_dims_(node.Int("batch_dims", 0)) {}
  std::string_view name() const override { return name_; }

 protected:
  std::string name_;
  int64_t bytes_, axis_, batch_dims_;
};

class GatherKernel final : public GatherFamilyKernel {
 public:
  using GatherFamilyKernel::GatherFamilyKernel;
  void Run(KernelContext& context) const override {
    const TensorView &x = context.inputs[0], &y = context.outputs[0];
    if (y.Count() == 0) return;
    const int axis = ResolveAxis(axis_, x.shape.rank());
    const Indices indices(context.inputs[1]);
    const int64_t limit = x.shape[axis], count = context.inputs[1].Count();
    const int64_t chunk = x.shape.Count(axis + 1, x.shape.rank()) * bytes_;
    const std::byte* from = x.As<const std::byte>();
    std::byte* to = y.As<std::byte>();
    ForRows(context.team, x.shape.Count(0, axis) * count, chunk + 16, kCopyGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        CopyElement(to + i * chunk, from + (i / count * limit + indices.At(i % count, limit)) * chunk, chunk);
    });
  }
};

// For GatherElements and ScatterElements: calls fn(position in `indices`, offset in `shape` with the index put in).
template <typename Fn>
void ForElementOffsets(const Shape& shape, const TensorView& index_view, int axis, int64_t begin, int64_t end,
                       const Fn& fn) {
  const Indices indices(index_view);
  const auto strides = ContiguousStrides(shape);
  const Shape& dims = index_view.shape;
  const int last = dims.rank() - 1;
  const int64_t line = dims[last], step = axis == last ? 0 : strides[last];
  // Line by line: within one, only the index and the last axis change.
  for (int64_t i = begin; i < end;) {
    int64_t rest = i / line, offset = 0;
    for (int k = last - 1; k >= 0; --k) {
      if (k != axis) offset += rest % dims[k] * strides[k];
      rest /= dims[k];
    }
    const int64_t first = i - i % line, stop = std::min(end, first + line);
    for (; i < stop; ++i) fn(i, offset + (i - first) * step + indices.At(i, shape[axis]) * strides[axis]);
  }
}

void RequireWithin(const Shape& indices, const Shape& data, int axis) {
  bool fits = indices.rank() == data.rank();
  for (int k = 0; fits && k < data.rank(); ++k) fits = k == axis || indices[k] <= data[k];
  if (!fits) throw Error(Code::kInvalidArgument, "indices of shape ", indices, " reach beyond data of shape ", data);
}

class GatherElementsKernel final : public GatherFamilyKernel {
 public:
  using GatherFamilyKernel::GatherFamilyKernel;
  void Run(KernelContext& context) const override {
    const TensorView &x = context.inputs[0], &y = context.outputs[0];
    if (y.Count() == 0) return;
    const int axis = ResolveAxis(axis_, x.shape.rank());
    RequireWithin(context.inputs[1].shape, x.shape, axis);
    ForElements(context.team, y.Count(), kCostlyGrain, [&](int64_t begin, int64_t end) {
      ForElementOffsets(x.shape, context.inputs[1], axis, begin, end, [&](int64_t i, int64_t offset) {
        CopyElement(y.As<std::byte>() + i * bytes_, x.As<const std::byte>() + offset * bytes_, bytes_);
      });
    });
  }
};

class ScatterElementsKernel final : public GatherFamilyKernel {
 public:
  using GatherFamilyKernel::GatherFamilyKernel;
  int InPlaceInput(int) const override { return 0; }
  void Run(KernelContext& context) const override {
    const TensorView &x = context.inputs[0], &updates = context.inputs[2], &y = context.outputs[0];
    if (y.data != x.data && x.Count() > 0) std::memcpy(y.data, x.data, x.Bytes());
    const int64_t count = context.inputs[1].Count();
    if (count == 0) return;
    const int axis = ResolveAxis(axis_, x.shape.rank());
    RequireWithin(context.inputs[1].shape, x.shape, axis);
    if (!(updates.shape == context.inputs[1].shape))
      throw Error(Code::kInvalidArgument, "updates of shape ", updates.shape, " for indices of shape ",
                  context.inputs[1].shape);
    // In order, on one thread: the last of several updates of an element wins.
    ForElementOffsets(x.shape, context.inputs[1], axis, 0, count, [&](int64_t i, int64_t offset) {
      CopyElement(y.As<std::byte>() + offset * bytes_, updates.As<const std::byte>() + i * bytes_, bytes_);
    });
  }
};

// The offset, in elements, that tuple `i` of an index tensor names in the dimensions of `shape` from `first` on.
int64_t TupleOffset(const Indices& indices, int64_t i, int64_t depth, const Shape& shape, int first) {
  int64_t offset = 0;
  for (int64_t k = 0; k < depth; ++k) {
    const int axis = first + static_cast<int>(k);
    offset = offset * shape[axis] + indices.At(i * depth + k, shape[axis]);
  }
  return offset * shape.Count(first + static_cast<int>(depth), shape.rank());
}

int64_t TupleDepth(const Shape& indices, const Shape& data, int64_t batch_dims) {
  const int64_t depth = indices.rank() ? indices[indices.rank() - 1] : 0;
  if (indices.rank() == 0 || batch_dims < 0 || batch_dims >= indices.rank() || batch_dims + depth > data.rank())
    throw Error(Code::kInvalidArgument, "indices of shape ", indices, " do not address data of shape ", data);
  return depth;
}

class GatherNDKernel final : public GatherFamilyKernel {
 public:
  using GatherFamilyKernel::GatherFamilyKernel;
  void Run(KernelContext& context) const override {
    const TensorView &x = context.inputs[0], &index_view = context.inputs[1], &y = context.outputs[0];
    if (y.Count() == 0) return;
    const int64_t depth = TupleDepth(index_view.shape, x.shape, batch_dims_);
    const auto first = static_cast<int>(batch_dims_);
    for (int k = 0; k < first; ++k)
      if (index_view.shape[k] != x.shape[k])
        throw Error(Code::kInvalidArgument, "batch dimensions of ", x.shape, " and ", index_view.shape, " differ");
    const Indices indices(index_view);
    const int64_t tuples = index_view.shape.Count(0, index_view.shape.rank() - 1);
    const int64_t batches = x.shape.Count(0, first), item = x.shape.Count(first, x.shape.rank());
    const int64_t chunk = x.shape.Count(first + static_cast<int>(depth), x.shape.rank()) * bytes_;
    ForRows(context.team, tuples, chunk + 16, kCopyGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t base = i / (tuples / batches) * item;
        const int64_t offset = base + TupleOffset(indices, i, depth, x.shape, first);
        CopyElement(y.As<std::byte>() + i * chunk, x.As<const std::byte>() + offset * bytes_, chunk);
      }
    });
  }
};

class ScatterNDKernel final : public GatherFamilyKernel {
 public:
  using GatherFamilyKernel::GatherFamilyKernel;
  int InPlaceInput(int) const override { return 0; }
  void Run(KernelContext& context) const override {
    const TensorView &x = context.inputs[0], &index_view = context.inputs[1], &y = context.outputs[0];
    if (y.data != x.data && x.Count() > 0) std::memcpy(y.data, x.data, x.Bytes());
    const int64_t depth = TupleDepth(index_view.shape, x.shape, 0);
    const int64_t tuples = index_view.shape.Count(0, index_view.shape.rank() - 1);
    const int64_t chunk = x.shape.Count(static_cast<int>(depth), x.shape.rank());
    if (context.inputs[2].Count() != tuples * chunk)
      throw Error(Code::kInvalidArgument, "updates of shape ", context.inputs[2].shape, " for indices of shape ",
                  index_view.shape, " into ", x.shape);
    if (x.Count() == 0) return;
    const Indices indices(index_view);
    const std::byte* updates = context.inputs[2].As<const std::byte>();
    for (int64_t i = 0; i < tuples; ++i)
      CopyElement(y.As<std::byte>() + TupleOffset(indices, i, depth, x.shape, 0) * bytes_, updates + i * chunk * bytes_,
                  chunk * bytes_);
  }
};

template <typename KernelType>
std::unique_ptr<Kernel> Make(KernelSite& site, const KernelTable&) {
  const Node& node = site.node();
  const auto bytes = static_cast<int64_t>(ByteSize(node.Input(0)->type.dtype));
  if (bytes == 0 || node.String("reduction", "none") != "none") return nullptr;
  return std::make_unique<KernelType>(node, bytes);
}

constexpr KernelEntry kEntries[] = {
    {"Gather", Make<GatherKernel>},       {"GatherElements", Make<GatherElementsKernel>},
    {"GatherND", Make<GatherNDKernel>},   {"ScatterElements", Make<ScatterElementsKernel>},
    {"ScatterND", Make<ScatterNDKernel>},
};

}  // namespace

std::span<const KernelEntry> GatherKernels() { return kEntries; }

}  // namespace ziggurat::cpu
