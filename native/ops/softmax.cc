// Softmax, its kin, and the losses built on it.
#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

void InferAlongAxis(InferContext& c) {
  if (c.HasRank(0)) c.Axis(c.node().Int("axis"), c.InputType(0).Rank());
  c.CopyType(0);
}

// x minus its maximum along the axis: the exponentials of what remains cannot overflow.
Value* Shifted(Expander& e, Value* x, int64_t axis) { return e.Op("Sub", {x, e.Op("ReduceMax", {x, e.Ints({axis})})}); }

void ExpandSoftmax(Expander& e) {
  const int64_t axis = e.node().Int("axis");
  Value* power = e.Op("Exp", {Shifted(e, e.Wide(e.In(0)), axis)});
  e.Return(0, e.Op("Div", {power, e.Op("ReduceSum", {power, e.Ints({axis})})}));
}

Value* LogSoftmax(Expander& e, Value* x, int64_t axis) {
  Value* shifted = Shifted(e, x, axis);
  Value* sum = e.Op("ReduceSum", {e.Op("Exp", {shifted}), e.Ints({axis})});
  return e.Op("Sub", {shifted, e.Op("Log", {sum})});
}

void ExpandLogSoftmax(Expander& e) { e.Return(0, LogSoftmax(e, e.Wide(e.In(0)), e.node().Int("axis"))); }

void ExpandHardmax(Expander& e) {
  const int64_t axis = e.node().Int("axis");
  const int rank = e.Rank(e.In(0));
  const int64_t resolved = axis < 0 ? axis + rank : axis;
  Value* x = e.Wide(e.In(0));
  Value* best = e.Op("ArgMax", {x}, {{"axis", axis}, {"keepdims", int64_t{0}}});
  Value* values = e.Join({e.Reshape(e.ScalarLike(x, 0), {1}), e.Reshape(e.ScalarLike(x, 1), {1})});
  Value* depth = e.ShapeOf(x, resolved, resolved + 1);
  e.Return(0, e.Op("OneHot", {best, depth, values}, {{"axis", axis}}));
}

void InferLoss(InferContext& c) {
  c.ExpectRank(0, 2, kMaxRank);
  c.ExpectRank(2, 1);
  const std::string reduction = Choice(c, "reduction", {"none", "sum", "mean"});
  if (c.HasRank(0) && c.HasRank(1) && c.InputType(1).Rank() != c.InputType(0).Rank() - 1)
    c.Fail("the target has rank ", c.InputType(1).Rank(), ", expected ", c.InputType(0).Rank() - 1);
  if (reduction == "none")
    c.SetOutput(0, Type::Tensor(c.InputDType(0), c.InputType(1).shape));
  else
    c.SetOutput(0, c.InputDType(0), {});
  if (c.num_outputs() > 1) c.CopyType(0, 1);
}

// The negative log likelihood of `log_prob` (classes along axis 1) at `target`, reduced as the node says.
Value* Loss(Expander& e, Value* log_prob, Value* target, Value* weight) {
  const DType dtype = log_prob->type.dtype;
  target = e.Cast(target, DType::kInt64);
  Value *zero = e.Int(0), *nothing = e.Scalar(dtype, 0);
  Value* ignored = nullptr;
  if (e.node().Has("ignore_index")) {
    ignored = e.Op("Equal", {target, e.Int(e.node().Int("ignore_index"))});
    target = e.Op("Where", {ignored, zero, target});  // a class that exists; its loss is dropped below
  }
  Value* index = e.Op("Unsqueeze", {target, e.Ints({1})});
  Value* picked = e.Op("Squeeze", {e.Op("GatherElements", {log_prob, index}, {{"axis", int64_t{1}}}), e.Ints({1})});
  Value* loss = e.Op("Neg", {picked});
  Value* share = nullptr;
  if (weight) share = e.Op("Gather", {e.Cast(weight, dtype), target});
  if (ignored) {
    if (!share) share = e.Op("Expand", {e.Scalar(dtype, 1), e.ShapeOf(target)});
    share = e.Op("Where", {ignored, nothing, share});
    loss = e.Op("Where", {ignored, nothing, loss});
  }
  if (share) loss = e.Op("Mul", {loss, share});
  const std::string reduction = e.node().String("reduction");
  const Attributes drop = {{"keepdims", int64_t{0}}};
  if (reduction == "none") return loss;
  if (reduction == "mean" && !share) return e.Op("ReduceMean", {loss}, drop);
  Value* sum = e.Op("ReduceSum", {loss}, drop);
  return reduction == "sum" ? sum : e.Op("Div", {sum, e.Op("ReduceSum", {share}, drop)});
}

void ExpandNegativeLogLikelihoodLoss(Expander& e) {
  e.Return(0, Loss(e, e.Wide(e.In(0)), e.In(1), e.HasIn(2) ? e.In(2) : nullptr));
}

void ExpandSoftmaxCrossEntropyLoss(Expander& e) {
  Value* log_prob = LogSoftmax(e, e.Wide(e.In(0)), 1);
  e.Return(0, Loss(e, log_prob, e.In(1), e.HasIn(2) ? e.In(2) : nullptr));
  e.Return(1, log_prob);
}

}  // namespace

constexpr OpDef kOp_Hardmax = {
    .name = "Hardmax",
    .inputs = {{"input", kFloats}},
    .attributes = {attr::Int("axis", -1)},
    .infer = InferAlongAxis,
    .expand = ExpandHardmax,
};
constexpr OpDef kOp_LogSoftmax = {
    .name = "LogSoftmax",
    .inputs = {{"input", kFloats}},
    .attributes = {attr::Int("axis", -1)},
    .infer = InferAlongAxis,
    .expand = ExpandLogSoftmax,
};
constexpr OpDef kOp_Softmax = {
    .name = "Softmax",
    .inputs = {{"input", kFloats}},
    .attributes = {attr::Int("axis", -1)},
    .infer = InferAlongAxis,
    .expand = ExpandSoftmax,
};
constexpr OpDef kOp_NegativeLogLikelihoodLoss = {
    .name = "NegativeLogLikelihoodLoss",
    .inputs = {{"input", kFloats, 'T'}, {"target", kIndices}, {"weight", kFloats, 'T', Param::kOptional}},
    .attributes = {attr::Int("ignore_index"), attr::String("reduction", "mean")},
    .infer = InferLoss,
    .expand = ExpandNegativeLogLikelihoodLoss,
};
constexpr OpDef kOp_SoftmaxCrossEntropyLoss = {
    .name = "SoftmaxCrossEntropyLoss",
    .inputs = {{"scores", kFloats, 'T'}, {"labels", kIndices}, {"weights", kFloats, 'T', Param::kOptional}},
    .max_outputs = 2,
    .attributes = {attr::Int("ignore_index"), attr::String("reduction", "mean")},
    .infer = InferLoss,
    .expand = ExpandSoftmaxCrossEntropyLoss,
};

}  // namespace ziggurat
