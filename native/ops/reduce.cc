// Reductions along axes, and running sums.
#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

// The shape after reducing `axes` of input 0.
std::vector<Dim> Reduced(InferContext& c, const std::vector<int>& axes, bool keep) {
  const auto& in = c.InputShape(0);
  std::vector<bool> gone(in.size(), false);
  for (int axis : axes) gone[axis] = true;
  std::vector<Dim> out;
  for (size_t i = 0; i < in.size(); ++i) {
    if (!gone[i])
      out.push_back(in[i]);
    else if (keep)
      out.push_back(1);
  }
  return out;
}

void InferReduce(InferContext& c) {
  const bool keep = c.node().Int("keepdims") != 0, noop = c.node().Int("noop_with_empty_axes") != 0;
  auto axes = c.HasInput(1) ? c.Ints(1) : std::vector<int64_t>{};
  const DType dtype = c.InputDType(0);
  c.ExpectRank(1, 1);
  if (axes && axes->empty() && noop) return c.CopyType(0);
  if (!c.HasRank(0)) {
    if (axes && axes->empty() && !keep) return c.SetOutput(0, dtype, {});
    return c.SetUnranked(0, dtype);
  }
  const int rank = c.InputType(0).Rank();
  if (!axes) {
    if (keep) return c.SetOutput(0, dtype, c.NewSymbols("reduced", rank));
    const bool counted = c.HasRank(1) && c.InputShape(1)[0].IsConst();
    const int64_t count = counted ? c.InputShape(1)[0].Const() : 0;
    if (!counted || count == 0 || count > rank) return c.SetUnranked(0, dtype);
    return c.SetOutput(0, dtype, c.NewSymbols("reduced", rank - static_cast<int>(count)));
  }
  std::vector<int> resolved = c.Axes(*axes, rank);
  if (axes->empty())
    for (int i = 0; i < rank; ++i) resolved.push_back(i);
  c.SetOutput(0, dtype, Reduced(c, resolved, keep));
}

// The whole of a small vector, folded into one element.
template <Dim (*Fold)(const Dim&, const Dim&)>
void FoldContents(InferContext& c) {
  if (!IsShapeType(c.InputDType(0)) || !c.HasRank(0) || c.InputType(0).Rank() != 1) return;
  const auto contents = c.Contents(0);
  const auto count = SmallCount(c.output_types[0]);
  if (!contents || contents->empty() || !count || *count != 1) return;
  if (contents->size() > 1 && c.HasInput(1) && !c.Ints(1)) return;
  Dim result = contents->front();
  for (size_t i = 1; i < contents->size(); ++i) result = Fold(result, (*contents)[i]);
  c.SetContents(0, {result});
}

Dim Times(const Dim& a, const Dim& b) { return a * b; }
Dim Plus(const Dim& a, const Dim& b) { return a + b; }
Dim Larger(const Dim& a, const Dim& b) { return Max(a, b); }
Dim Smaller(const Dim& a, const Dim& b) { return Min(a, b); }

// The node's own reduction, by another op, of another value.
Value* Again(Expander& e, const char* op, Value* x) {
  std::vector<Value*> inputs = {x};
  if (e.HasIn(1)) inputs.push_back(e.In(1));
  return e.Op(op, std::move(inputs), e.node().attributes);
}

void ExpandReduceL1(Expander& e) { e.Return(0, Again(e, "ReduceSum", e.Op("Abs", {e.Wide(e.In(0))}))); }

void ExpandReduceSumSquare(Expander& e) {
  Value* x = e.Wide(e.In(0));
  e.Return(0, Again(e, "ReduceSum", e.Op("Mul", {x, x})));
}

void ExpandReduceL2(Expander& e) {
  Value* x = e.Wide(e.In(0));
  if (!IsFloat(x->type.dtype)) x = e.Cast(x, DType::kFloat64);
  e.Return(0, e.Op("Sqrt", {Again(e, "ReduceSum", e.Op("Mul", {x, x}))}));
}

void ExpandReduceLogSum(Expander& e) { e.Return(0, e.Op("Log", {Again(e, "ReduceSum", e.Wide(e.In(0)))})); }

// log(sum(e^x)) as max + log(sum(e^(x - max))), whose exponentials cannot overflow. Where the maximum is infinite or
// nothing is reduced, 0 takes its place: inf - inf would be NaN.
void ExpandReduceLogSumExp(Expander& e) {
  Value* x = e.Wide(e.In(0));
  const bool noop = e.node().Int("noop_with_empty_axes") != 0;
  Attributes keep = e.node().attributes;
  keep["keepdims"] = int64_t{1};
  std::vector<Value*> inputs = {x};
  if (e.HasIn(1)) inputs.push_back(e.In(1));
  Value* most = e.Op("ReduceMax", inputs, keep);
  most = e.Op("Where", {e.Op("IsInf", {most}), e.ScalarLike(most, 0), most});
  inputs[0] = e.Op("Exp", {e.Op("Sub", {x, most})});
  Value* y = e.Op("Add", {e.Op("Log", {e.Op("ReduceSum", inputs, keep)}), most});
  if (!e.node().Int("keepdims") && !(noop && !e.HasIn(1))) {
    // The dimensions are all 1 where axes name none; they are those that were reduced.
    y = e.Op("Reshape", {y, e.Op("Shape", {Again(e, "ReduceSum", x)})});
  }
  e.Return(0, y);
}

void InferArg(InferContext& c) {
  const bool keep = c.node().Int("keepdims") != 0;
  if (!c.HasRank(0)) return c.SetUnranked(0, DType::kInt64);
  const int axis = c.Axis(c.node().Int("axis"), c.InputType(0).Rank());
  c.SetOutput(0, DType::kInt64, Reduced(c, {axis}, keep));
}

void InferCumulative(InferContext& c) {
  c.ExpectRank(1, 0, 1);
  if (const auto axis = c.Ints(1); axis && axis->size() == 1 && c.HasRank(0)) c.Axis((*axis)[0], c.InputType(0).Rank());
  c.CopyType(0);
}

void InferTopK(InferContext& c) {
  c.ExpectRank(0, 1, kMaxRank);
  c.ExpectRank(1, 0, 1);
  if (!c.HasRank(0)) return c.SetUnranked(0, c.InputDType(0)), c.SetUnranked(1, DType::kInt64);
  std::vector<Dim> out = c.InputShape(0);
  const int axis = c.Axis(c.node().Int("axis"), static_cast<int>(out.size()));
  const auto k = c.Contents(1);
  if (k && k->size() != 1) c.Fail("K has ", k->size(), " elements, expected 1");
  const Dim wanted = k ? (*k)[0] : c.NewSymbol("k");
  if (wanted.IsConst() && out[axis].IsConst() && (wanted.Const() < 0 || wanted.Const() > out[axis].Const()))
    c.Fail("K is ", wanted.Const(), ", axis ", axis, " has ", out[axis].Const(), " elements");
  out[axis] = wanted;
  c.SetOutput(0, c.InputDType(0), out);
  c.SetOutput(1, DType::kInt64, std::move(out));
}

}  // namespace

constexpr OpDef kOp_ReduceSum = {
    .name = "ReduceSum",
    .inputs = {{"data", kFloats | kWideInts}, {"axes", kInt64s, 0, Param::kOptional}},
    .attributes = {attr::Int("keepdims", 1), attr::Int("noop_with_empty_axes", 0)},
    .infer = InferReduce,
    .contents = FoldContents<Plus>,
    .shape_inputs = {1},
};
constexpr OpDef kOp_ReduceProd = {
    .name = "ReduceProd",
    .inputs = {{"data", kFloats | kWideInts}, {"axes", kInt64s, 0, Param::kOptional}},
    .attributes = {attr::Int("keepdims", 1), attr::Int("noop_with_empty_axes", 0)},
    .infer = InferReduce,
    .contents = FoldContents<Times>,
    .shape_inputs = {1},
};
constexpr OpDef kOp_ReduceMax = {
    .name = "ReduceMax",
    .inputs = {{"data", kFloats | kWideInts | kBytes | kBools}, {"axes", kInt64s, 0, Param::kOptional}},
    .attributes = {attr::Int("keepdims", 1), attr::Int("noop_with_empty_axes", 0)},
    .infer = InferReduce,
    .contents = FoldContents<Larger>,
    .shape_inputs = {1},
};
constexpr OpDef kOp_ReduceMin = {
    .name = "ReduceMin",
    .inputs = {{"data", kFloats | kWideInts | kBytes | kBools}, {"axes", kInt64s, 0, Param::kOptional}},
    .attributes = {attr::Int("keepdims", 1), attr::Int("noop_with_empty_axes", 0)},
    .infer = InferReduce,
    .contents = FoldContents<Smaller>,
    .shape_inputs = {1},
};
constexpr OpDef kOp_ReduceMean = {
    .name = "ReduceMean",
    .inputs = {{"data", kFloats | kWideInts}, {"axes", kInt64s, 0, Param::kOptional}},
    .attributes = {attr::Int("keepdims", 1), attr::Int("noop_with_empty_axes", 0)},
    .infer = InferReduce,
    .shape_inputs = {1},
};
constexpr OpDef kOp_ReduceL1 = {
    .name = "ReduceL1",
    .inputs = {{"data", kFloats | kWideInts}, {"axes", kInt64s, 0, Param::kOptional}},
    .attributes = {attr::Int("keepdims", 1), attr::Int("noop_with_empty_axes", 0)},
    .infer = InferReduce,
    .expand = ExpandReduceL1,
    .shape_inputs = {1},
};
constexpr OpDef kOp_ReduceL2 = {
    .name = "ReduceL2",
    .inputs = {{"data", kFloats | kWideInts}, {"axes", kInt64s, 0, Param::kOptional}},
    .attributes = {attr::Int("keepdims", 1), attr::Int("noop_with_empty_axes", 0)},
    .infer = InferReduce,
    .expand = ExpandReduceL2,
    .shape_inputs = {1},
};
constexpr OpDef kOp_ReduceLogSum = {
    .name = "ReduceLogSum",
    .inputs = {{"data", kFloats}, {"axes", kInt64s, 0, Param::kOptional}},
    .attributes = {attr::Int("keepdims", 1), attr::Int("noop_with_empty_axes", 0)},
    .infer = InferReduce,
    .expand = ExpandReduceLogSum,
    .shape_inputs = {1},
};
constexpr OpDef kOp_ReduceLogSumExp = {
    .name = "ReduceLogSumExp",
    .inputs = {{"data", kFloats}, {"axes", kInt64s, 0, Param::kOptional}},
    .attributes = {attr::Int("keepdims", 1), attr::Int("noop_with_empty_axes", 0)},
    .infer = InferReduce,
    .expand = ExpandReduceLogSumExp,
    .shape_inputs = {1},
};
constexpr OpDef kOp_ReduceSumSquare = {
    .name = "ReduceSumSquare",
    .inputs = {{"data", kFloats | kWideInts}, {"axes", kInt64s, 0, Param::kOptional}},
    .attributes = {attr::Int("keepdims", 1), attr::Int("noop_with_empty_axes", 0)},
    .infer = InferReduce,
    .expand = ExpandReduceSumSquare,
    .shape_inputs = {1},
};
constexpr OpDef kOp_ArgMax = {
    .name = "ArgMax",
    .inputs = {{"data", kNumbers}},
    .attributes = {attr::Int("axis", 0), attr::Int("keepdims", 1), attr::Int("select_last_index", 0)},
    .infer = InferArg,
};
constexpr OpDef kOp_ArgMin = {
    .name = "ArgMin",
    .inputs = {{"data", kNumbers}},
    .attributes = {attr::Int("axis", 0), attr::Int("keepdims", 1), attr::Int("select_last_index", 0)},
    .infer = InferArg,
};
constexpr OpDef kOp_CumProd = {
    .name = "CumProd",
    .inputs = {{"x", kFloats | kWideInts}, {"axis", kIndices}},
    .attributes = {attr::Int("exclusive", 0), attr::Int("reverse", 0)},
    .infer = InferCumulative,
};
constexpr OpDef kOp_CumSum = {
    .name = "CumSum",
    .inputs = {{"x", kFloats | kWideInts}, {"axis", kIndices}},
    .attributes = {attr::Int("exclusive", 0), attr::Int("reverse", 0)},
    .infer = InferCumulative,
};
constexpr OpDef kOp_TopK = {
    .name = "TopK",
    .inputs = {{"X", kNumbers}, {"K", kInt64s}},
    .min_outputs = 2,
    .max_outputs = 2,
    .attributes = {attr::Int("axis", -1), attr::Int("largest", 1), attr::Int("sorted", 1)},
    .infer = InferTopK,
    .shape_inputs = {1},
};

}  // namespace ziggurat
