// Ops that only move elements: every dtype, strings included.
#include <numeric>

#include "device/reference/moves.h"
#include "device/reference/plain.h"
#include "device/sequence.h"

namespace ziggurat::plain {
namespace {

std::vector<int64_t> Everything(int64_t size) {
  std::vector<int64_t> map(static_cast<size_t>(size));
  std::iota(map.begin(), map.end(), 0);
  return map;
}
AxisMaps IdentityMaps(const Shape& shape) {
  AxisMaps maps;
  for (int64_t dim : shape) maps.push_back(Everything(dim));
  return maps;
}

// Same elements in the same order: Identity, Reshape and their like. Sequences and optionals pass through.
void Same(const Args& args) {
  if (const SequenceValue* sequence = args.Sequence(0)) {
    args.SetSequence(0, std::make_shared<SequenceValue>(*sequence));
    return;
  }
  const TensorView &in = args.In(0), &out = args.Out(0);
  if (in.Count() != out.Count())
    throw Error(Code::kInvalidArgument, "elements of shape ", in.shape, " do not fill shape ", out.shape);
  CopyRun(in, 0, out, 0, in.Count());
}

void Transpose(const Args& args) {
  const TensorView& in = args.In(0);
  const int rank = in.shape.rank();
  std::vector<int64_t> perm = args.node.Ints("perm");
  if (perm.empty())
    for (int axis = rank - 1; axis >= 0; --axis) perm.push_back(axis);
  if (static_cast<int>(perm.size()) != rank)
    throw Error(Code::kInvalidArgument, "perm has ", perm.size(), " axes, the tensor ", rank);
  const Strides own = ContiguousStrides(in.shape);
  Strides strides{};
  for (int i = 0; i < rank; ++i) strides[i] = own[Axis(perm[i], rank)];
  CopyStrided(in, strides, 0, args.Out(0));
}

void Expand(const Args& args) {
  CopyStrided(args.In(0), BroadcastStrides(args.In(0).shape, args.Out(0).shape), 0, args.Out(0));
}

void Concat(const Args& args) {
  const TensorView& out = args.Out(0);
  const AxisView to(out.shape, Axis(args.Int("axis"), out.shape.rank()));
  int64_t at = 0;
  for (int i = 0; i < args.inputs(); ++i) {
    const TensorView& in = args.In(i);
    const int64_t run = to.outer ? in.Count() / to.outer : 0;
    ZIGGURAT_CHECK(at + run <= to.size * to.inner);
    for (int64_t o = 0; o < to.outer; ++o) CopyRun(in, o * run, out, o * to.size * to.inner + at, run);
    at += run;
  }
}

void Split(const Args& args) {
  const TensorView& in = args.In(0);
  const AxisView from(in.shape, Axis(args.Int("axis", 0), in.shape.rank()));
  int64_t at = 0;
  for (int i = 0; i < args.outputs(); ++i) {
    const TensorView& out = args.Out(i);
    const int64_t run = from.outer ? out.Count() / from.outer : 0;
    if (at + run > from.size * from.inner)
      throw Error(Code::kInvalidArgument, "the parts exceed the axis of ", from.size);
    for (int64_t o = 0; o < from.outer; ++o) CopyRun(in, o * from.size * from.inner + at, out, o * run, run);
    at += run;
  }
}

void Slice(const Args& args) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  const std::vector<int64_t> starts = args.IntsIn(1);
  std::vector<int64_t> axes = args.IntsIn(3), steps = args.IntsIn(4);
  if (axes.empty()) axes = Everything(static_cast<int64_t>(starts.size()));
  if (steps.empty()) steps.assign(starts.size(), 1);
  if (axes.size() != starts.size() || steps.size() != starts.size())
    throw Error(Code::kInvalidArgument, "starts, axes and steps differ in length");
  AxisMaps maps = IdentityMaps(out.shape);
  for (size_t i = 0; i < starts.size(); ++i) {
    const int axis = Axis(axes[i], in.shape.rank());
    const int64_t size = in.shape[axis], step = steps[i];
    int64_t start = starts[i] < 0 ? starts[i] + size : starts[i];
    start = std::clamp<int64_t>(start, 0, step < 0 ? std::max<int64_t>(size - 1, 0) : size);
    for (int64_t k = 0; k < out.shape[axis]; ++k) maps[axis][k] = start + (k ? k * step : 0);
  }
  CopyMapped(in, maps, out);
}

void Tile(const Args& args) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  AxisMaps maps = IdentityMaps(out.shape);
  for (int axis = 0; axis < in.shape.rank(); ++axis)
    for (int64_t& index : maps[axis]) index %= in.shape[axis];
  CopyMapped(in, maps, out);
}

// Where position `i` (possibly outside [0, size)) reads from; -1: the constant.
int64_t PadIndex(const std::string& mode, int64_t i, int64_t size) {
  if (i >= 0 && i < size) return i;
  if (mode == "constant") return -1;
  if (size == 0) throw Error(Code::kInvalidArgument, "Pad mode ", mode, " on an axis without elements");
  if (mode == "edge") return i < 0 ? 0 : size - 1;
  if (mode == "wrap") return (i % size + size) % size;
  if (mode != "reflect") throw Error(Code::kInvalidArgument, "Pad mode '", mode, "' is unknown");
  if (size == 1) return 0;
  const int64_t period = 2 * (size - 1), phase = (i % period + period) % period;
  return phase < size ? phase : period - phase;
}

void Pad(const Args& args) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  const std::string mode = args.String("mode", "constant");
  const std::vector<int64_t> pads = args.IntsIn(1);
  std::vector<int64_t> axes = args.IntsIn(3);
  if (!args.Has(3)) axes = Everything(in.shape.rank());
  if (pads.size() != 2 * axes.size())
    throw Error(Code::kInvalidArgument, "Pad has ", pads.size(), " pads for ", axes.size(), " axes");
  AxisMaps maps = IdentityMaps(out.shape);
  for (size_t i = 0; i < axes.size(); ++i) {
    const int axis = Axis(axes[i], in.shape.rank());
    for (int64_t k = 0; k < out.shape[axis]; ++k) maps[axis][k] = PadIndex(mode, k - pads[i], in.shape[axis]);
  }
  CopyMapped(in, maps, out, args.Has(2) ? args.In(2) : TensorView{});
}

void CenterCropPad(const Args& args) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  AxisMaps maps = IdentityMaps(out.shape);
  for (int axis = 0; axis < in.shape.rank(); ++axis) {
    const int64_t size = in.shape[axis], wanted = out.shape[axis];
    const int64_t shift = size >= wanted ? (size - wanted) / 2 : -((wanted - size) / 2);
    for (int64_t k = 0; k < wanted; ++k) maps[axis][k] = PadIndex("constant", k + shift, size);
  }
  CopyMapped(in, maps, out);
}

// [N, C, H, W] with depth moved to blocks or back, as a transposition of six axes.
void DepthToSpace(const Args& args) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  if (in.shape.rank() != 4 || out.shape.rank() != 4)
    throw Error(Code::kInvalidArgument, "an input of shape ", in.shape);
  const int64_t b = args.Int("blocksize"), c = out.shape[1], h = in.shape[2], w = in.shape[3];
  if (b < 1 || in.Count() != out.Count())
    throw Error(Code::kInvalidArgument, "blocksize ", b, " does not divide the depth");
  const bool crd = args.String("mode", "DCR") == "CRD";
  const Shape split = crd ? Shape{in.shape[0], c, b, b, h, w} : Shape{in.shape[0], b, b, c, h, w};
  const Strides from = ContiguousStrides(split);
  const Strides strides = crd ? Strides{from[0], from[1], from[4], from[2], from[5], from[3]}
                              : Strides{from[0], from[3], from[4], from[1], from[5], from[2]};
  CopyStrided(in, strides, 0, TensorView{out.data, out.dtype, Shape{in.shape[0], c, h, b, w, b}});
}

void SpaceToDepth(const Args& args) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  if (in.shape.rank() != 4 || out.shape.rank() != 4)
    throw Error(Code::kInvalidArgument, "an input of shape ", in.shape);
  const int64_t b = args.Int("blocksize"), c = in.shape[1], h = out.shape[2], w = out.shape[3];
  if (b < 1 || in.Count() != out.Count())
    throw Error(Code::kInvalidArgument, "blocksize ", b, " does not divide the image");
  const bool crd = args.String("mode", "DCR") == "CRD";
  const Strides from = ContiguousStrides(Shape{in.shape[0], c, h, b, w, b});
  const Strides strides = crd ? Strides{from[0], from[1], from[3], from[5], from[2], from[4]}
                              : Strides{from[0], from[3], from[5], from[1], from[2], from[4]};
  const Shape shape = crd ? Shape{in.shape[0], c, b, b, h, w} : Shape{in.shape[0], b, b, c, h, w};
  CopyStrided(in, strides, 0, TensorView{out.data, out.dtype, shape});
}

void ReverseSequence(const Args& args) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  const int64_t batch_axis = args.Int("batch_axis", 1), time_axis = args.Int("time_axis", 0);
  ZIGGURAT_CHECK(in.shape == out.shape);
  if (in.shape.rank() < 2 || batch_axis + time_axis != 1)
    throw Error(Code::kInvalidArgument, "batch_axis and time_axis must be 0 and 1 of a tensor of rank 2 or more");
  const int64_t times = in.shape[static_cast<int>(time_axis)], batches = in.shape[static_cast<int>(batch_axis)];
  const int64_t inner = in.shape.Count(2, in.shape.rank());
  const int64_t time_step = (time_axis == 0 ? batches : 1) * inner, batch_step = (time_axis == 0 ? 1 : times) * inner;
  const std::vector<int64_t> lengths = args.IntsIn(1);
  if (static_cast<int64_t>(lengths.size()) != batches)
    throw Error(Code::kInvalidArgument, lengths.size(), " sequence lengths for a batch of ", batches);
  for (int64_t b = 0; b < batches; ++b) {
    if (lengths[b] < 0 || lengths[b] > times)
      throw Error(Code::kInvalidArgument, "sequence length ", lengths[b], " exceeds the time axis of ", times);
    for (int64_t t = 0; t < times; ++t) {
      const int64_t from = t < lengths[b] ? lengths[b] - 1 - t : t;
      CopyRun(in, b * batch_step + from * time_step, out, b * batch_step + t * time_step, inner);
    }
  }
}

void Trilu(const Args& args) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  const int rank = in.shape.rank();
  ZIGGURAT_CHECK(in.shape == out.shape);
  if (rank < 2) throw Error(Code::kInvalidArgument, "Trilu needs a rank of 2 or more, not ", rank);
  const int64_t rows = in.shape[rank - 2], columns = in.shape[rank - 1];
  const int64_t matrices = in.shape.Count(0, rank - 2);
  const int64_t k = std::clamp(args.IntIn(1, 0), -rows, columns);
  const bool upper = args.Int("upper", 1) != 0;
  for (int64_t r = 0; r < matrices * rows; ++r) {
    // Columns below `edge` are left of the diagonal (upper keeps the rest), from `edge` on right of it.
    const int64_t edge = std::clamp<int64_t>(r % rows + k + (upper ? 0 : 1), 0, columns);
    const int64_t from = upper ? edge : 0, to = upper ? columns : edge;
    Fill({}, 0, out, r * columns, from);
    CopyRun(in, r * columns + from, out, r * columns + from, to - from);
    Fill({}, 0, out, r * columns + to, columns - to);
  }
}

constexpr PlainOp kOps[] = {
    {"Identity", Same},
    {"Reshape", Same},
    {"Flatten", Same},
    {"Squeeze", Same},
    {"Unsqueeze", Same},
    {"Transpose", Transpose},
    {"Expand", Expand},
    {"Concat", Concat},
    {"Split", Split},
    {"Slice", Slice},
    {"Tile", Tile},
    {"Pad", Pad},
    {"CenterCropPad", CenterCropPad},
    {"DepthToSpace", DepthToSpace},
    {"SpaceToDepth", SpaceToDepth},
    {"ReverseSequence", ReverseSequence},
    {"Trilu", Trilu},
};

}  // namespace

std::span<const PlainOp> MoveOps() { return kOps; }

}  // namespace ziggurat::plain
