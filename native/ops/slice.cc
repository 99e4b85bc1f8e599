// Slice: bounds that may be negative, beyond the end, or known only as expressions.
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

struct Bounds {
  int axis;
  std::optional<Dim> start, end;
  std::optional<int64_t> step;
};

// Starts, ends, axes and steps, one entry per sliced axis; nullopt where not even the axes are known.
std::optional<std::vector<Bounds>> ReadBounds(const InferContext& c, int rank) {
  for (int i = 1; i < 5; ++i)
    if (c.HasInput(i)) c.ExpectRank(i, 1);
  const auto starts = c.Contents(1), ends = c.Contents(2);
  const auto axes = c.HasInput(3) ? c.Ints(3) : std::nullopt;
  const auto steps = c.HasInput(4) ? c.Ints(4) : std::nullopt;
  if (c.HasInput(3) && !axes) return std::nullopt;
  size_t count;
  if (axes)
    count = axes->size();
  else if (starts)
    count = starts->size();
  else if (ends)
    count = ends->size();
  else
    return std::nullopt;
  if ((starts && starts->size() != count) || (ends && ends->size() != count) || (steps && steps->size() != count))
    c.Fail("starts, ends, axes and steps have different lengths");
  std::vector<int> resolved;
  if (axes) {
    resolved = c.Axes(*axes, rank);
  } else {
    if (static_cast<int>(count) > rank) c.Fail(count, " axes are sliced, the rank is ", rank);
    for (size_t i = 0; i < count; ++i) resolved.push_back(static_cast<int>(i));
  }
  std::vector<Bounds> out;
  for (size_t i = 0; i < count; ++i) {
    Bounds bounds{resolved[i], {}, {}, {}};
    if (starts) bounds.start = (*starts)[i];
    if (ends) bounds.end = (*ends)[i];
    if (steps)
      bounds.step = (*steps)[i];
    else if (!c.HasInput(4))
      bounds.step = 1;
    if (bounds.step && *bounds.step == 0) c.Fail("step of axis ", bounds.axis, " is 0");
    out.push_back(bounds);
  }
  return out;
}

// A bound as a position in [low, high], where its sign is known.
std::optional<Dim> Position(const Dim& bound, const Dim& size, const Dim& low, const Dim& high) {
  if (bound.IsConst()) {
    // What lies beyond 32 bits stands for the end; it must not enter arithmetic.
    if (bound.Const() >= INT32_MAX) return high;
    if (bound.Const() <= -INT32_MAX) return low;
    if (bound.Const() < 0) return Max(size + bound, low);
  }
  if (bound.IsNonNegative()) return Min(bound, high);
  return std::nullopt;
}

std::optional<Dim> Length(const Bounds& b, const Dim& size) {
  if (!b.start || !b.end || !b.step) return std::nullopt;
  const int64_t step = *b.step;
  if (step > 0) {
    const auto start = Position(*b.start, size, 0, size), end = Position(*b.end, size, 0, size);
    if (!start || !end) return std::nullopt;
    return Max(CeilDiv(*end - *start, step), 0);
  }
  // Backwards, positions lie in [0, size - 1] for the start and [-1, size - 1] for the end.
  const Dim last = size - Dim(1);
  const auto start = Position(*b.start, size, 0, last), end = Position(*b.end, size, -1, last);
  if (!start || !end || step <= INT32_MIN) return std::nullopt;
  return Max(CeilDiv(*start - *end, -step), 0);
}

void InferSlice(InferContext& c) {
  if (!c.HasRank(0)) return c.SetUnranked(0, c.InputDType(0));
  std::vector<Dim> out = c.InputShape(0);
  const int rank = static_cast<int>(out.size());
  const auto all = ReadBounds(c, rank);
  if (!all) return c.SetOutput(0, c.InputDType(0), c.NewSymbols("sliced", rank));
  for (const Bounds& bounds : *all) {
    const auto length = Length(bounds, out[bounds.axis]);
    out[bounds.axis] = length ? *length : c.NewSymbol("sliced");
  }
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

void SliceContents(InferContext& c) {
  const auto in = c.Contents(0);
  if (!in || !c.HasRank(0) || c.InputType(0).Rank() != 1) return;
  const auto starts = c.Ints(1);
  const auto steps = c.HasInput(4) ? c.Ints(4) : std::vector<int64_t>{1};
  const auto length = SmallCount(c.output_types[0]);
  if (!starts || !steps || !length || starts->size() != 1 || steps->size() != 1) return;
  const int64_t size = static_cast<int64_t>(in->size()), step = (*steps)[0];
  int64_t start = (*starts)[0] < 0 ? std::max<int64_t>((*starts)[0], -size) + size : (*starts)[0];
  start = std::min(start, step > 0 ? size : size - 1);
  std::vector<Dim> out;
  for (int64_t i = 0; i < *length; ++i) {
    const int64_t position = start + i * step;
    if (position < 0 || position >= size) return;
    out.push_back((*in)[position]);
  }
  c.SetContents(0, std::move(out));
}

}  // namespace

constexpr OpDef kOp_Slice = {
    .name = "Slice",
    .inputs = {{"data", kClassic},
               {"starts", kIndices, 'I'},
               {"ends", kIndices, 'I'},
               {"axes", kIndices, 'I', Param::kOptional},
               {"steps", kIndices, 'I', Param::kOptional}},
    .infer = InferSlice,
    .contents = SliceContents,
    .shape_inputs = {1, 2, 3, 4},
};

}  // namespace ziggurat
