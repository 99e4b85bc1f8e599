// Gather and scatter by index. Indices may be negative; one out of range is an error that names it.
#include "device/reference/moves.h"
#include "device/reference/plain.h"

namespace ziggurat::plain {
namespace {

void GatherAxis(const Args& args) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  const AxisView view(in.shape, Axis(args.Int("axis", 0), in.shape.rank()));
  std::vector<int64_t> indices = args.IntsIn(1);
  for (int64_t& index : indices) index = Index(index, view.size);
  ZIGGURAT_CHECK(out.Count() == view.outer * static_cast<int64_t>(indices.size()) * view.inner);
  int64_t at = 0;
  for (int64_t o = 0; o < view.outer; ++o)
    for (int64_t index : indices)
      CopyRun(in, (o * view.size + index) * view.inner, out, at, view.inner), at += view.inner;
}

// For GatherElements and ScatterElements: where in `data` each position of `indices` points.
std::vector<int64_t> ElementOffsets(const Args& args, const TensorView& data, const TensorView& indices) {
  const int rank = data.shape.rank();
  if (indices.shape.rank() != rank)
    throw Error(Code::kInvalidArgument, "indices have rank ", indices.shape.rank(), ", data ", rank);
  const int axis = Axis(args.Int("axis", 0), rank);
  for (int i = 0; i < rank; ++i)
    if (i != axis && indices.shape[i] > data.shape[i])
      throw Error(Code::kInvalidArgument, "indices of shape ", indices.shape, " exceed data of shape ", data.shape);
  Strides strides = ContiguousStrides(data.shape);
  const int64_t step = strides[axis];
  strides[axis] = 0;
  std::vector<int64_t> offsets = AllOffsets(indices.shape, strides);
  for (size_t i = 0; i < offsets.size(); ++i)
    offsets[i] += step * Index(LoadOne<int64_t>(indices, static_cast<int64_t>(i)), data.shape[axis]);
  return offsets;
}

void GatherElements(const Args& args) {
  const std::vector<int64_t> offsets = ElementOffsets(args, args.In(0), args.In(1));
  ZIGGURAT_CHECK(args.Out(0).Count() == static_cast<int64_t>(offsets.size()));
  Gather(args.In(0), offsets.data(), static_cast<int64_t>(offsets.size()), args.Out(0), 0);
}

// For GatherND and ScatterND: where each index tuple's slice begins in `data`, and how long it is.
struct Slices {
  std::vector<int64_t> offsets;
  int64_t length;
};
Slices TupleSlices(const TensorView& data, const TensorView& indices, int batch_dims) {
  const int rank = data.shape.rank(), last = indices.shape.rank() - 1;
  if (last < 0 || batch_dims < 0 || batch_dims > last || batch_dims > rank)
    throw Error(Code::kInvalidArgument, "indices need a rank above batch_dims ", batch_dims);
  const int64_t width = indices.shape[last];
  if (width > rank - batch_dims)
    throw Error(Code::kInvalidArgument, "index tuples of ", width, " numbers into ", rank - batch_dims, " axes");
  for (int i = 0; i < batch_dims; ++i)
    if (indices.shape[i] != data.shape[i])
      throw Error(Code::kInvalidArgument, "batch axes of indices ", indices.shape, " and data ", data.shape, " differ");
  const Strides strides = ContiguousStrides(data.shape);
  const int64_t batches = data.shape.Count(0, batch_dims), tuples = indices.shape.Count(batch_dims, last);
  const int64_t batch_size = data.shape.Count(batch_dims, rank);
  const std::vector<int64_t> numbers = LoadAll<int64_t>(indices);
  Slices slices{{}, data.shape.Count(batch_dims + static_cast<int>(width), rank)};
  for (int64_t t = 0; t < batches * tuples; ++t) {
    int64_t offset = t / tuples * batch_size;
    for (int i = 0; i < width; ++i)
      offset += strides[batch_dims + i] * Index(numbers[t * width + i], data.shape[batch_dims + i]);
    slices.offsets.push_back(offset);
  }
  return slices;
}

void GatherND(const Args& args) {
  const Slices slices = TupleSlices(args.In(0), args.In(1), static_cast<int>(args.Int("batch_dims", 0)));
  ZIGGURAT_CHECK(args.Out(0).Count() == static_cast<int64_t>(slices.offsets.size()) * slices.length);
  int64_t at = 0;
  for (int64_t offset : slices.offsets)
    CopyRun(args.In(0), offset, args.Out(0), at, slices.length), at += slices.length;
}

template <typename C>
C Combine(const std::string& reduction, C old, C update) {
  if (reduction == "add") return WrapAdd(old, update);
  if (reduction == "mul") return WrapMul(old, update);
  if constexpr (!std::is_same_v<C, Complex>) {
    if (reduction == "max")
      return IsNan(old) || IsNan(update) ? (IsNan(old) ? old : update) : old > update ? old : update;
    if (reduction == "min")
      return IsNan(old) || IsNan(update) ? (IsNan(old) ? old : update) : old < update ? old : update;
  }
  throw Error(Code::kInvalidArgument, "reduction '", reduction, "' is not none, add, mul, max or min");
}

// Copies data to the output, then puts updates[i] at offsets[i], one after the other.
void ScatterInto(const Args& args, const std::vector<int64_t>& offsets) {
  const TensorView &data = args.In(0), &updates = args.In(2), &out = args.Out(0);
  if (updates.Count() != static_cast<int64_t>(offsets.size()))
    throw Error(Code::kInvalidArgument, "updates of shape ", updates.shape, " for ", offsets.size(), " places");
  ZIGGURAT_CHECK(data.shape == out.shape);
  CopyRun(data, 0, out, 0, data.Count());
  const std::string reduction = args.String("reduction", "none");
  if (reduction == "none") return Scatter(updates, 0, updates.Count(), out, offsets.data());
  WithComputeType(out.dtype, [&](auto zero) {
    using C = decltype(zero);
    for (size_t i = 0; i < offsets.size(); ++i)
      StoreOne<C>(out, offsets[i],
                  Combine<C>(reduction, LoadOne<C>(out, offsets[i]), LoadOne<C>(updates, static_cast<int64_t>(i))));
  });
}

void ScatterElements(const Args& args) {
  if (!(args.In(1).shape == args.In(2).shape))
    throw Error(Code::kInvalidArgument, "indices ", args.In(1).shape, " and updates ", args.In(2).shape, " differ");
  ScatterInto(args, ElementOffsets(args, args.In(0), args.In(1)));
}

void ScatterND(const Args& args) {
  const Slices slices = TupleSlices(args.In(0), args.In(1), 0);
  std::vector<int64_t> offsets;
  for (int64_t start : slices.offsets)
    for (int64_t i = 0; i < slices.length; ++i) offsets.push_back(start + i);
  ScatterInto(args, offsets);
}

void TensorScatter(const Args& args) {
  const TensorView &past = args.In(0), &update = args.In(1), &out = args.Out(0);
  const int axis = Axis(args.Int("axis", -2), past.shape.rank());
  if (axis == 0) throw Error(Code::kInvalidArgument, "the sequence axis cannot be the batch axis");
  const AxisView to(past.shape, axis), from(update.shape, axis);
  if (to.outer != from.outer || to.inner != from.inner)
    throw Error(Code::kInvalidArgument, "update of shape ", update.shape, " for a cache of shape ", past.shape);
  const bool circular = args.String("mode", "linear") == "circular";
  const std::vector<int64_t> starts = args.IntsIn(2);
  const int64_t batches = past.shape[0], each = batches ? to.outer / batches : 0;
  ZIGGURAT_CHECK(past.shape == out.shape);
  CopyRun(past, 0, out, 0, past.Count());
  for (int64_t o = 0; o < to.outer; ++o) {
    const size_t batch = static_cast<size_t>(o / each);
    if (args.Has(2) && batch >= starts.size())
      throw Error(Code::kInvalidArgument, starts.size(), " write indices for a batch of ", batches);
    const int64_t start = args.Has(2) ? starts[batch] : 0;
    for (int64_t s = 0; s < from.size; ++s) {
      int64_t place = start + s;
      if (circular) place = ((place % to.size) + to.size) % to.size;
      if (place < 0 || place >= to.size)
        throw Error(Code::kInvalidArgument, "write index ", place, " is out of range for a cache of ", to.size);
      CopyRun(update, (o * from.size + s) * to.inner, out, (o * to.size + place) * to.inner, to.inner);
    }
  }
}

constexpr PlainOp kOps[] = {
    {"Gather", GatherAxis},           {"GatherElements", GatherElements},   {"GatherND", GatherND},
    {"Scatter", ScatterElements},     {"ScatterElements", ScatterElements}, {"ScatterND", ScatterND},
    {"TensorScatter", TensorScatter},
};

}  // namespace

std::span<const PlainOp> GatherOps() { return kOps; }

}  // namespace ziggurat::plain
