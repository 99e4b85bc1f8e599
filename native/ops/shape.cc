// Ops that read shapes, or give the same elements another shape.
#include <algorithm>

#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

// [start, end) of Shape's attributes, clamped to the rank.
std::pair<int, int> ShapeRange(const InferContext& c, int rank) {
  auto clamp = [rank](int64_t axis) {
    return static_cast<int>(std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank));
  };
  const int start = clamp(c.node().Int("start", 0)), end = clamp(c.node().Int("end", rank));
  return {start, std::max(start, end)};
}

void InferShape(InferContext& c) {
  if (!c.HasRank(0)) return c.SetOutput(0, DType::kInt64, {c.NewSymbol("rank")});
  const auto [start, end] = ShapeRange(c, c.InputType(0).Rank());
  c.SetOutput(0, DType::kInt64, {Dim(end - start)});
}

void ShapeContents(InferContext& c) {
  if (!c.HasRank(0)) return;
  const auto [start, end] = ShapeRange(c, c.InputType(0).Rank());
  c.SetContents(0, {c.InputShape(0).begin() + start, c.InputShape(0).begin() + end});
}

void InferSize(InferContext& c) { c.SetOutput(0, DType::kInt64, {}); }

void SizeContents(InferContext& c) {
  if (c.HasRank(0)) c.SetContents(0, {Product(c.InputShape(0))});
}

// How many elements a rank-1 input has, if that is known.
std::optional<int> VectorLength(const InferContext& c, int i) {
  c.ExpectRank(i, 1);
  if (!c.HasRank(i) || !c.InputShape(i)[0].IsConst()) return std::nullopt;
  // More than any rank is as good as any other such number.
  return static_cast<int>(std::min<int64_t>(c.InputShape(i)[0].Const(), kMaxRank + 1));
}

// The dimension -1 stands for: all of the input's elements over the product of the other dimensions.
Dim InferredDim(InferContext& c, const std::vector<Dim>& in, const std::vector<Dim>& out, int hole) {
  Dim total = Product(in), rest = 1;
  for (int i = 0; i < static_cast<int>(out.size()); ++i)
    if (i != hole) rest = rest * out[i];
  if (rest.IsConst(0)) {
    if (total.IsConst() && !total.IsConst(0))
      c.Fail("shape ", ToString(c, out), " cannot hold ", total.Const(), " elements");
    return 0;  // nothing to place: any size holds it, and 0 is what NumPy's rule leaves
  }
  if (total.IsConst() && rest.IsConst() && total.Const() % rest.Const() != 0)
    c.Fail("shape ", ToString(c, in), " has ", total.Const(), " elements, not a multiple of ", rest.Const());
  return FloorDiv(total, rest);  // exact, as Reshape demands: kernels check
}

void ReshapeTo(InferContext& c, const std::vector<Dim>& wanted) {
  const bool allow_zero = c.node().Int("allowzero") != 0;
  std::vector<Dim> out;
  int hole = -1;
  for (size_t i = 0; i < wanted.size(); ++i) {
    Dim dim = wanted[i];
    if (dim.IsConst(0) && !allow_zero) {
      if (c.HasRank(0) && i >= c.InputShape(0).size())
        c.Fail("shape[", i, "] is 0, which copies a dimension that shape ", ToString(c, c.InputShape(0)), " lacks");
      dim = c.HasRank(0) ? c.InputShape(0)[i] : c.NewSymbol("copied");
    } else if (dim.IsConst(-1)) {
      if (hole >= 0) c.Fail("shape has more than one -1");
      hole = static_cast<int>(i);
      dim = 1;
    } else if (dim.IsConst() && dim.Const() < 0) {
      c.Fail("shape[", i, "] is ", dim.Const());
    }
    out.push_back(dim);
  }
  if (hole >= 0) {
    out[hole] = c.HasRank(0) ? InferredDim(c, c.InputShape(0), out, hole) : c.NewSymbol("inferred");
  } else if (c.HasRank(0)) {
    const Dim have = Product(c.InputShape(0)), want = Product(out);
    if (have.IsConst() && want.IsConst() && !(have == want))
      c.Fail("cannot reshape ", ToString(c, c.InputShape(0)), " to ", ToString(c, out));
  }
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

void InferReshape(InferContext& c) {
  c.ExpectRank(1, 1);
  if (auto wanted = c.Contents(1)) return ReshapeTo(c, *wanted);
  const auto rank = VectorLength(c, 1);
  if (!rank) return c.SetUnranked(0, c.InputDType(0));
  c.SetOutput(0, c.InputDType(0), c.NewSymbols("reshaped", *rank));
}

void InferFlatten(InferContext& c) {
  const int64_t axis = c.node().Int("axis");
  if (!c.HasRank(0)) return c.SetOutput(0, c.InputDType(0), c.NewSymbols("flat", 2));
  const auto& shape = c.InputShape(0);
  const int rank = static_cast<int>(shape.size());
  const size_t split = axis == rank ? rank : c.Axis(axis, std::max(rank, 1));
  c.SetOutput(0, c.InputDType(0), {Product(shape, 0, split), Product(shape, split, rank)});
}

void ExpandFlatten(Expander& e) {
  const int rank = e.Rank(e.In(0));
  int64_t axis = e.node().Int("axis");
  if (axis < 0) axis += rank;
  if (axis == 0) return e.Return(0, e.Reshape(e.In(0), {1, -1}));
  if (axis == rank) return e.Return(0, e.Reshape(e.In(0), {-1, 1}));
  // Not {-1, rest}: with a dimension of zero, -1 would be ambiguous.
  Value* left = e.Op("ReduceProd", {e.ShapeOf(e.In(0), 0, axis), e.Ints({0})});
  Value* right = e.Op("ReduceProd", {e.ShapeOf(e.In(0), axis, rank), e.Ints({0})});
  e.Return(0, e.Op("Reshape", {e.In(0), e.Join({left, right})}, {{"allowzero", int64_t{1}}}));
}

void InferUnsqueeze(InferContext& c) {
  const auto axes = c.Ints(1);
  const auto count = c.HasRank(1) && c.InputType(1).Rank() == 0 ? std::optional<int>(1) : VectorLength(c, 1);
  if (!c.HasRank(0) || (!axes && !count)) return c.SetUnranked(0, c.InputDType(0));
  const auto& shape = c.InputShape(0);
  const int rank = static_cast<int>(shape.size() + (axes ? axes->size() : *count));
  if (!axes || rank > kMaxRank) return c.SetOutput(0, c.InputDType(0), c.NewSymbols("unsqueezed", rank));
  std::vector<Dim> out(rank, Dim(-1));
  for (int axis : c.Axes(*axes, rank)) out[axis] = 1;
  auto next = shape.begin();
  for (Dim& dim : out)
    if (dim.IsConst(-1)) dim = *next++;
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

void InferSqueeze(InferContext& c) {
  const bool all = !c.HasInput(1);
  const auto axes = all ? std::nullopt : c.Ints(1);
  if (!c.HasRank(0)) return c.SetUnranked(0, c.InputDType(0));
  const auto& shape = c.InputShape(0);
  const int rank = static_cast<int>(shape.size());
  std::vector<bool> gone(rank, false);
  if (all) {
    for (int i = 0; i < rank; ++i) {
      if (!shape[i].IsConst()) return c.SetUnranked(0, c.InputDType(0));  // may or may not be 1
      gone[i] = shape[i].IsConst(1);
    }
  } else if (axes) {
    for (int axis : c.Axes(*axes, rank)) {
      if (shape[axis].IsConst() && !shape[axis].IsConst(1))
        c.Fail("axis ", axis, " of shape ", ToString(c, shape), " is not 1");
      gone[axis] = true;
    }
  } else {
    const auto count = VectorLength(c, 1);
    if (!count || *count > rank) return c.SetUnranked(0, c.InputDType(0));
    return c.SetOutput(0, c.InputDType(0), c.NewSymbols("squeezed", rank - *count));
  }
  std::vector<Dim> out;
  for (int i = 0; i < rank; ++i)
    if (!gone[i]) out.push_back(shape[i]);
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

void InferTranspose(InferContext& c) {
  const std::vector<int64_t> perm = c.node().Ints("perm");
  if (!c.HasRank(0)) {
    if (perm.empty()) return c.SetUnranked(0, c.InputDType(0));
    return c.SetOutput(0, c.InputDType(0), c.NewSymbols("transposed", static_cast<int>(perm.size())));
  }
  const auto& shape = c.InputShape(0);
  const int rank = static_cast<int>(shape.size());
  std::vector<Dim> out(shape.rbegin(), shape.rend());
  if (c.node().Has("perm")) {
    if (static_cast<int>(perm.size()) != rank) c.Fail("perm has ", perm.size(), " axes, expected ", rank);
    const std::vector<int> axes = c.Axes(perm, rank);
    for (int i = 0; i < rank; ++i) out[i] = shape[axes[i]];
  }
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

void TransposeContents(InferContext& c) {
  if (c.HasRank(0) && c.InputType(0).Rank() <= 1) SameContents(c);
}

}  // namespace

constexpr OpDef kOp_Shape = {
    .name = "Shape",
    .inputs = {{"data"}},
    .attributes = {attr::Int("end"), attr::Int("start", 0)},
    .infer = InferShape,
    .contents = ShapeContents,
};
constexpr OpDef kOp_Size = {
    .name = "Size",
    .inputs = {{"data"}},
    .infer = InferSize,
    .contents = SizeContents,
};
constexpr OpDef kOp_Identity = {
    .name = "Identity",
    .inputs = {{"input", kAnyType, 0, Param::kOne, Param::kAnything}},
    .infer = SameAsFirst,
    .contents = SameContents,
    .flags = kView,
};
constexpr OpDef kOp_Reshape = {
    .name = "Reshape",
    .inputs = {{"data"}, {"shape", kInt64s}},
    .attributes = {attr::Int("allowzero", 0)},
    .infer = InferReshape,
    .contents = SameContents,
    .flags = kView,
    .shape_inputs = {1},
};
constexpr OpDef kOp_Flatten = {
    .name = "Flatten",
    .inputs = {{"input"}},
    .attributes = {attr::Int("axis", 1)},
    .infer = InferFlatten,
    .contents = SameContents,
    .expand = ExpandFlatten,
    .flags = kView,
};
constexpr OpDef kOp_Unsqueeze = {
    .name = "Unsqueeze",
    .inputs = {{"data"}, {"axes", kInt64s}},
    .infer = InferUnsqueeze,
    .contents = SameContents,
    .flags = kView,
    .shape_inputs = {1},
};
constexpr OpDef kOp_Squeeze = {
    .name = "Squeeze",
    .inputs = {{"data"}, {"axes", kInt64s, 0, Param::kOptional}},
    .infer = InferSqueeze,
    .contents = SameContents,
    .flags = kView,
    .shape_inputs = {1},
};
constexpr OpDef kOp_Transpose = {
    .name = "Transpose",
    .inputs = {{"data"}},
    .attributes = {attr::Ints("perm")},
    .infer = InferTranspose,
    .contents = TransposeContents,
};

}  // namespace ziggurat
