// Normalisations.
#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

Value* ReduceMean(Expander& e, Value* x, std::vector<int64_t> axes) {
  return e.Op("ReduceMean", {x, e.Ints(std::move(axes))}, {{"noop_with_empty_axes", int64_t{1}}});
}

std::vector<int64_t> AxesFrom(int first, int rank) {
  std::vector<int64_t> axes;
  for (int i = first; i < rank; ++i) axes.push_back(i);
  return axes;
}

// 1 / sqrt(variance + epsilon)
Value* InverseDeviation(Expander& e, Value* variance) {
  Value* shifted = e.Op("Add", {variance, e.ScalarLike(variance, e.node().Float("epsilon"))});
  return e.Op("Reciprocal", {e.Op("Sqrt", {shifted})});
}

// x minus its mean, and the inverse deviation; over `axes`.
struct Centred {
  Value *mean, *difference, *inverse;
};
Centred Centre(Expander& e, Value* x, const std::vector<int64_t>& axes) {
  Value* mean = ReduceMean(e, x, axes);
  Value* difference = e.Op("Sub", {x, mean});
  return {mean, difference, InverseDeviation(e, ReduceMean(e, e.Op("Mul", {difference, difference}), axes))};
}

// A vector over channels, shaped to meet axis 1 of a tensor of that rank.
Value* PerChannel(Expander& e, Value* vector, int rank) {
  std::vector<int64_t> shape(std::max(rank - 1, 1), 1);
  shape[0] = -1;
  return e.Reshape(e.Wide(vector), std::move(shape));
}

// Fails where a per-channel input's length differs from dimension 1 of input 0.
void CheckChannels(InferContext& c, int first, int last) {
  for (int i = first; i <= last; ++i) {
    c.ExpectRank(i, 1);
    if (c.HasRank(0) && c.HasRank(i) && c.InputType(0).Rank() > 1)
      c.Same(c.InputShape(0)[1], c.InputShape(i)[0], Cat("channels and the length of ", c.node().op->Formal(i)->name));
  }
}

void InferBatchNormalization(InferContext& c) {
  c.ExpectRank(0, 1, kMaxRank);
  CheckChannels(c, 1, 4);
  c.CopyType(0);
  const bool training = c.node().Int("training_mode") != 0;
  if (!training && (c.HasOutput(1) || c.HasOutput(2))) c.Fail("running statistics are outputs of training_mode only");
  c.CopyType(3, 1);
  c.CopyType(4, 2);
}

void ExpandBatchNormalization(Expander& e) {
  const int rank = e.Rank(e.In(0));
  Value* x = e.Wide(e.In(0));
  Value *mean = e.Wide(e.In(3)), *variance = e.Wide(e.In(4));
  if (e.node().Int("training_mode")) {
    std::vector<int64_t> axes = AxesFrom(2, rank);
    axes.insert(axes.begin(), 0);
    const double momentum = e.node().Float("momentum");
    auto running = [&](int output, Value* old, Value* now) {
      Value* kept = e.Op("Mul", {old, e.ScalarLike(old, momentum)});
      e.Return(output, e.Op("Add", {kept, e.Op("Mul", {now, e.ScalarLike(now, 1 - momentum)})}));
    };
    Value* now = ReduceMean(e, x, axes);
    Value* difference = e.Op("Sub", {x, now});
    Value* spread = e.Reshape(ReduceMean(e, e.Op("Mul", {difference, difference}), axes), {-1});
    now = e.Reshape(now, {-1});
    running(1, mean, now);
    running(2, variance, spread);
    mean = now, variance = spread;
  }
  Value* factor = e.Op("Mul", {e.Wide(e.In(1)), InverseDeviation(e, variance)});
  Value* y = e.Op("Mul", {e.Op("Sub", {x, PerChannel(e, mean, rank)}), PerChannel(e, factor, rank)});
  e.Return(0, e.Op("Add", {y, PerChannel(e, e.In(2), rank)}));
}

void InferInstanceNormalization(InferContext& c) {
  c.ExpectRank(0, 2, kMaxRank);
  CheckChannels(c, 1, 2);
  c.CopyType(0);
}

void ExpandInstanceNormalization(Expander& e) {
  const int rank = e.Rank(e.In(0));
  const Centred x = Centre(e, e.Wide(e.In(0)), AxesFrom(2, rank));
  Value* y = e.Op("Mul", {e.Op("Mul", {x.difference, x.inverse}), PerChannel(e, e.In(1), rank)});
  e.Return(0, e.Op("Add", {y, PerChannel(e, e.In(2), rank)}));
}

void InferGroupNormalization(InferContext& c) {
  c.ExpectRank(0, 2, kMaxRank);
  CheckChannels(c, 1, 2);
  const int64_t groups = c.node().Int("num_groups");
  if (groups < 1) c.Fail("num_groups is ", groups);
  if (c.HasRank(0) && c.InputShape(0)[1].IsConst() && c.InputShape(0)[1].Const() % groups != 0)
    c.Fail(c.InputShape(0)[1].Const(), " channels do not divide into ", groups, " groups");
  c.CopyType(0);
}

void ExpandGroupNormalization(Expander& e) {
  const int rank = e.Rank(e.In(0));
  Value* grouped = e.Reshape(e.Wide(e.In(0)), {0, e.node().Int("num_groups"), -1});
  const Centred x = Centre(e, grouped, {2});
  Value* y = e.Op("Reshape", {e.Op("Mul", {x.difference, x.inverse}), e.ShapeOf(e.In(0))});
  y = e.Op("Mul", {y, PerChannel(e, e.In(1), rank)});
  e.Return(0, e.Op("Add", {y, PerChannel(e, e.In(2), rank)}));
}

// Element type of the statistics a node gives: what it computes in, at least.
DType StashType(const InferContext& c) { return DTypeAttribute(c, "stash_type", DType::kFloat32, kFloats); }

void InferLayerNormalization(InferContext& c) {
  c.CopyType(0);
  const DType stash = StashType(c);
  if (!c.HasRank(0)) return c.SetUnranked(1, stash), c.SetUnranked(2, stash);
  const int rank = c.InputType(0).Rank(), axis = c.Axis(c.node().Int("axis"), rank);
  for (int i : {1, 2}) c.ExpectRank(i, 0, rank);
  std::vector<Dim> reduced = c.InputShape(0);
  for (int i = axis; i < rank; ++i) reduced[i] = 1;
  c.SetOutput(1, stash, reduced);
  c.SetOutput(2, stash, std::move(reduced));
}

void ExpandLayerNormalization(Expander& e) {
  const int rank = e.Rank(e.In(0));
  int axis = static_cast<int>(e.node().Int("axis"));
  if (axis < 0) axis += rank;
  const Centred x = Centre(e, e.Wide(e.In(0)), AxesFrom(axis, rank));
  Value* y = e.Op("Mul", {e.Op("Mul", {x.difference, x.inverse}), e.Wide(e.In(1))});
  if (e.HasIn(2)) y = e.Op("Add", {y, e.Wide(e.In(2))});
  e.Return(0, y);
  e.Return(1, x.mean);
  e.Return(2, x.inverse);
}

void InferRMSNormalization(InferContext& c) {
  StashType(c);
  if (c.HasRank(0)) c.Axis(c.node().Int("axis"), c.InputType(0).Rank());
  c.SetOutput(0, Type::Tensor(c.InputDType(1), c.InputType(0).shape));
}

void ExpandRMSNormalization(Expander& e) {
  const int rank = e.Rank(e.In(0));
  int axis = static_cast<int>(e.node().Int("axis"));
  if (axis < 0) axis += rank;
  Value* x = e.Wide(e.In(0));
  Value* inverse = InverseDeviation(e, ReduceMean(e, e.Op("Mul", {x, x}), AxesFrom(axis, rank)));
  Value* y = e.Op("Mul", {x, inverse});
  e.Return(0, e.Op("Mul", {y, e.Cast(e.In(1), y->type.dtype)}));
}

void ExpandLpNormalization(Expander& e) {
  const int64_t p = e.node().Int("p"), axis = e.node().Int("axis");
  Value* x = e.Wide(e.In(0));
  Value* norm = e.Op(p == 1 ? "ReduceL1" : "ReduceL2", {x, e.Ints({axis})});
  Value* zero = e.ScalarLike(x, 0);
  e.Return(0, e.Op("Where", {e.Op("Equal", {norm, zero}), zero, e.Op("Div", {x, norm})}));
}

void InferLpNormalization(InferContext& c) {
  const int64_t p = c.node().Int("p");
  if (p != 1 && p != 2) c.Fail("p is ", p, ", expected 1 or 2");
  if (c.HasRank(0)) c.Axis(c.node().Int("axis"), c.InputType(0).Rank());
  c.CopyType(0);
}

void ExpandMeanVarianceNormalization(Expander& e) {
  const std::vector<int64_t> axes = e.node().Has("axes") ? e.node().Ints("axes") : std::vector<int64_t>{0, 2, 3};
  Value* x = e.Wide(e.In(0));
  Value* difference = e.Op("Sub", {x, ReduceMean(e, x, axes)});
  Value* deviation = e.Op("Sqrt", {ReduceMean(e, e.Op("Mul", {difference, difference}), axes)});
  // The standard's own guard against a constant input.
  e.Return(0, e.Op("Div", {difference, e.Op("Add", {deviation, e.ScalarLike(deviation, 1e-9)})}));
}

void InferLRN(InferContext& c) {
  c.ExpectRank(0, 2, kMaxRank);
  if (c.node().Int("size") < 1) c.Fail("size is ", c.node().Int("size"));
  c.CopyType(0);
}

void ExpandChannelsLastLRN(Expander& e) {
  e.Return(0, e.ChannelsLast(e.Op("LRN", {e.ChannelsFirst(e.In(0))}, e.node().attributes)));
}

}  // namespace

constexpr OpDef kOp_BatchNormalization = {
    .name = "BatchNormalization",
    .inputs = {{"X", kFloats},
               {"scale", kFloats, '1'},
               {"B", kFloats, '1'},
               {"input_mean", kFloats, '2'},
               {"input_var", kFloats, '2'}},
    .max_outputs = 3,
    .attributes = {attr::Float("epsilon", 1e-05f), attr::Float("momentum", 0.9f), attr::Int("training_mode", 0)},
    .infer = InferBatchNormalization,
    .expand = ExpandBatchNormalization,
};
constexpr OpDef kOp_InstanceNormalization = {
    .name = "InstanceNormalization",
    .inputs = {{"input", kFloats, 'T'}, {"scale", kFloats, 'T'}, {"B", kFloats, 'T'}},
    .attributes = {attr::Float("epsilon", 1e-05f)},
    .infer = InferInstanceNormalization,
    .expand = ExpandInstanceNormalization,
};
constexpr OpDef kOp_GroupNormalization = {
    .name = "GroupNormalization",
    .inputs = {{"X", kFloats, 'T'}, {"scale", kFloats, 'T'}, {"bias", kFloats, 'T'}},
    .attributes = {attr::Float("epsilon", 1e-05f), attr::Required(attr::Int("num_groups")), attr::Int("stash_type", 1)},
    .infer = InferGroupNormalization,
    .expand = ExpandGroupNormalization,
};
constexpr OpDef kOp_LayerNormalization = {
    .name = "LayerNormalization",
    .inputs = {{"X", kFloats, 'T'}, {"Scale", kFloats, 'T'}, {"B", kFloats, 'T', Param::kOptional}},
    .max_outputs = 3,
    .attributes = {attr::Int("axis", -1), attr::Float("epsilon", 1e-05f), attr::Int("stash_type", 1)},
    .infer = InferLayerNormalization,
    .expand = ExpandLayerNormalization,
};
constexpr OpDef kOp_RMSNormalization = {
    .name = "RMSNormalization",
    .inputs = {{"X", kFloats}, {"scale", kFloats}},
    .attributes = {attr::Int("axis", -1), attr::Float("epsilon", 1e-05f), attr::Int("stash_type", 1)},
    .infer = InferRMSNormalization,
    .expand = ExpandRMSNormalization,
};
constexpr OpDef kOp_LpNormalization = {
    .name = "LpNormalization",
    .inputs = {{"input", kFloats}},
    .attributes = {attr::Int("axis", -1), attr::Int("p", 2)},
    .infer = InferLpNormalization,
    .expand = ExpandLpNormalization,
};
constexpr OpDef kOp_MeanVarianceNormalization = {
    .name = "MeanVarianceNormalization",
    .inputs = {{"X", kFloats}},
    .attributes = {attr::Ints("axes")},
    .infer = SameAsFirst,
    .expand = ExpandMeanVarianceNormalization,
};
constexpr OpDef kOp_LRN = {
    .name = "LRN",
    .inputs = {{"X", kFloats}},
    .attributes = {attr::Float("alpha", 1e-04f), attr::Float("beta", 0.75f), attr::Float("bias", 1.0f),
                   attr::Required(attr::Int("size"))},
    .infer = InferLRN,
};
// LRN of X and Y [N, spatial..., C]: the window slides along the last axis.
constexpr OpDef kOp_ZigChannelsLastLRN = {
    .name = "ChannelsLastLRN",
    .domain = "zig",
    .inputs = {{"X", kFloats}},
    .attributes = {attr::Float("alpha", 1e-04f), attr::Float("beta", 0.75f), attr::Float("bias", 1.0f),
                   attr::Required(attr::Int("size"))},
    .infer = InferLRN,
    .expand = ExpandChannelsLastLRN,
};

}  // namespace ziggurat
