// Activations with a meaning in arithmetic. All compute in at least float32.
#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

// Scalars take the type of the value they meet.
Value* Add(Expander& e, Value* x, double c) { return e.Op("Add", {x, e.ScalarLike(x, c)}); }
Value* Mul(Expander& e, Value* x, double c) { return e.Op("Mul", {x, e.ScalarLike(x, c)}); }
Value* IsNegative(Expander& e, Value* x) { return e.Op("Less", {x, e.ScalarLike(x, 0)}); }

void ExpandLeakyRelu(Expander& e) {
  Value* x = e.Wide(e.In(0));
  e.Return(0, e.Op("Where", {IsNegative(e, x), Mul(e, x, e.node().Float("alpha")), x}));
}

void ExpandPRelu(Expander& e) {
  Value *x = e.Wide(e.In(0)), *slope = e.Wide(e.In(1));
  e.Return(0, e.Op("Where", {IsNegative(e, x), e.Op("Mul", {x, slope}), x}));
}

// The slope is stretched to the input, never the input to the slope.
void InferPRelu(InferContext& c) {
  if (c.HasRank(0) && c.HasRank(1)) {
    const auto &x = c.InputShape(0), &slope = c.InputShape(1);
    if (slope.size() > x.size())
      c.Fail("slope ", ToString(c, slope), " has a higher rank than the input ", ToString(c, x));
    for (size_t i = 0; i < slope.size(); ++i)
      if (!slope[i].IsConst(1)) c.Same(slope[i], x[x.size() - slope.size() + i], "dimensions of slope and input");
  }
  c.CopyType(0);
}

void ExpandElu(Expander& e) {
  Value* x = e.Wide(e.In(0));
  Value* low = Mul(e, Add(e, e.Op("Exp", {x}), -1), e.node().Float("alpha"));
  e.Return(0, e.Op("Where", {IsNegative(e, x), low, x}));
}

void ExpandSelu(Expander& e) {
  Value* x = e.Wide(e.In(0));
  Value* low = Mul(e, Add(e, e.Op("Exp", {x}), -1), e.node().Float("alpha"));
  e.Return(0, Mul(e, e.Op("Where", {IsNegative(e, x), low, x}), e.node().Float("gamma")));
}

void ExpandCelu(Expander& e) {
  Value* x = e.Wide(e.In(0));
  const float alpha = e.node().Float("alpha");
  Value* low = Mul(e, Add(e, e.Op("Exp", {e.Op("Div", {x, e.ScalarLike(x, alpha)})}), -1), alpha);
  e.Return(0, e.Op("Where", {IsNegative(e, x), low, x}));
}

void ExpandThresholdedRelu(Expander& e) {
  Value* x = e.Wide(e.In(0));
  Value* above = e.Op("Greater", {x, e.ScalarLike(x, e.node().Float("alpha"))});
  e.Return(0, e.Op("Where", {above, x, e.ScalarLike(x, 0)}));
}

Value* HardSigmoid(Expander& e, Value* x, double alpha, double beta) {
  Value* line = Add(e, Mul(e, x, alpha), beta);
  return e.Op("Max", {e.Op("Min", {line, e.ScalarLike(x, 1)}), e.ScalarLike(x, 0)});
}

void ExpandHardSigmoid(Expander& e) {
  e.Return(0, HardSigmoid(e, e.Wide(e.In(0)), e.node().Float("alpha"), e.node().Float("beta")));
}

void ExpandHardSwish(Expander& e) {
  Value* x = e.Wide(e.In(0));
  e.Return(0, e.Op("Mul", {x, HardSigmoid(e, x, 1.0 / 6.0, 0.5)}));
}

// log(1 + e^x) as max(x, 0) + log(1 + e^-|x|), whose exponential cannot overflow.
Value* Softplus(Expander& e, Value* x) {
  Value* decay = e.Op("Exp", {e.Op("Neg", {e.Op("Abs", {x})})});
  return e.Op("Add", {e.Op("Max", {x, e.ScalarLike(x, 0)}), e.Op("Log", {Add(e, decay, 1)})});
}

void ExpandSoftplus(Expander& e) { e.Return(0, Softplus(e, e.Wide(e.In(0)))); }

void ExpandMish(Expander& e) {
  Value* x = e.Wide(e.In(0));
  e.Return(0, e.Op("Mul", {x, e.Op("Tanh", {Softplus(e, x)})}));
}

void ExpandSoftsign(Expander& e) {
  Value* x = e.Wide(e.In(0));
  e.Return(0, e.Op("Div", {x, Add(e, e.Op("Abs", {x}), 1)}));
}

Value* Swish(Expander& e, Value* x) {
  const float alpha = e.node().Float("alpha");
  return e.Op("Mul", {x, e.Op("Sigmoid", {alpha == 1.0f ? x : Mul(e, x, alpha)})});
}

void ExpandSwish(Expander& e) { e.Return(0, Swish(e, e.Wide(e.In(0)))); }

void ExpandSwiGLU(Expander& e) { e.Return(0, e.Op("Mul", {Swish(e, e.Wide(e.In(0))), e.Wide(e.In(1))})); }

void InferSwiGLU(InferContext& c) {
  if (!c.HasRank(0) || !c.HasRank(1)) return c.CopyType(c.HasRank(0) ? 0 : 1);
  const auto &a = c.InputShape(0), &b = c.InputShape(1);
  if (a.size() != b.size()) c.Fail("A has shape ", ToString(c, a), " and B ", ToString(c, b), ", must be the same");
  std::vector<Dim> out;
  for (size_t i = 0; i < a.size(); ++i) out.push_back(c.Same(a[i], b[i], "dimensions of A and B"));
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

void ExpandGelu(Expander& e) {
  Value* x = e.Wide(e.In(0));
  Value* gate;
  if (e.node().String("approximate") == "tanh") {
    Value* cube = e.Op("Mul", {x, e.Op("Mul", {x, x})});
    Value* inner = Mul(e, e.Op("Add", {x, Mul(e, cube, 0.044715)}), 0.7978845608028654);  // sqrt(2 / pi)
    gate = e.Op("Tanh", {inner});
  } else {
    gate = e.Op("Erf", {Mul(e, x, 0.7071067811865476)});  // 1 / sqrt(2)
  }
  e.Return(0, e.Op("Mul", {Mul(e, x, 0.5), Add(e, gate, 1)}));
}

void InferGelu(InferContext& c) {
  Choice(c, "approximate", {"none", "tanh"});
  c.CopyType(0);
}

void ExpandShrink(Expander& e) {
  Value* x = e.Wide(e.In(0));
  const DType type = x->type.dtype;
  const float bias = e.node().Float("bias"), lambda = e.node().Float("lambd");
  // Integers compare and move as float64, which holds all of 32 bits.
  Value* wide = IsFloat(type) ? x : e.Cast(x, DType::kFloat64);
  Value* high =
      e.Op("Where", {e.Op("Greater", {wide, e.ScalarLike(wide, lambda)}), Add(e, wide, -bias), e.ScalarLike(wide, 0)});
  e.Return(0, e.Op("Where", {e.Op("Less", {wide, e.ScalarLike(wide, -lambda)}), Add(e, wide, bias), high}));
}

void InferClip(InferContext& c) {
  c.ExpectRank(1, 0, 1);  // some exporters give bounds of shape [1]
  c.ExpectRank(2, 0, 1);
  c.CopyType(0);
}

// Where min is above max, max wins, as in NumPy; NaN stays NaN.
void ExpandClip(Expander& e) {
  Value* x = e.In(0);
  for (int i : {1, 2}) {
    if (!e.HasIn(i)) continue;
    x = e.Op(i == 1 ? "Max" : "Min", {x, e.Reshape(e.In(i), {})});
  }
  e.Return(0, e.HasIn(1) || e.HasIn(2) ? x : e.Op("Identity", {x}));
}

}  // namespace

constexpr OpDef kOp_Celu = {
    .name = "Celu",
    .inputs = {{"X", kFloats}},
    .attributes = {attr::Float("alpha", 1.0f)},
    .infer = SameAsFirst,
    .expand = ExpandCelu,
    .flags = kElementwise,
};
constexpr OpDef kOp_Elu = {
    .name = "Elu",
    .inputs = {{"X", kFloats}},
    .attributes = {attr::Float("alpha", 1.0f)},
    .infer = SameAsFirst,
    .expand = ExpandElu,
    .flags = kElementwise,
};
constexpr OpDef kOp_HardSigmoid = {
    .name = "HardSigmoid",
    .inputs = {{"X", kFloats}},
    .attributes = {attr::Float("alpha", 0.2f), attr::Float("beta", 0.5f)},
    .infer = SameAsFirst,
    .expand = ExpandHardSigmoid,
    .flags = kElementwise,
};
constexpr OpDef kOp_HardSwish = {
    .name = "HardSwish",
    .inputs = {{"X", kFloats}},
    .infer = SameAsFirst,
    .expand = ExpandHardSwish,
    .flags = kElementwise,
};
constexpr OpDef kOp_LeakyRelu = {
    .name = "LeakyRelu",
    .inputs = {{"X", kFloats}},
    .attributes = {attr::Float("alpha", 0.01f)},
    .infer = SameAsFirst,
    .expand = ExpandLeakyRelu,
    .flags = kElementwise,
};
constexpr OpDef kOp_Mish = {
    .name = "Mish",
    .inputs = {{"X", kFloats}},
    .infer = SameAsFirst,
    .expand = ExpandMish,
    .flags = kElementwise,
};
constexpr OpDef kOp_Selu = {
    .name = "Selu",
    .inputs = {{"X", kFloats}},
    .attributes = {attr::Float("alpha", 1.6732632f), attr::Float("gamma", 1.050701f)},
    .infer = SameAsFirst,
    .expand = ExpandSelu,
    .flags = kElementwise,
};
constexpr OpDef kOp_Shrink = {
    .name = "Shrink",
    .inputs = {{"input", kNumbers}},
    .attributes = {attr::Float("bias", 0.0f), attr::Float("lambd", 0.5f)},
    .infer = SameAsFirst,
    .expand = ExpandShrink,
    .flags = kElementwise,
};
constexpr OpDef kOp_Softplus = {
    .name = "Softplus",
    .inputs = {{"X", kFloats}},
    .infer = SameAsFirst,
    .expand = ExpandSoftplus,
    .flags = kElementwise,
};
constexpr OpDef kOp_Softsign = {
    .name = "Softsign",
    .inputs = {{"input", kFloats}},
    .infer = SameAsFirst,
    .expand = ExpandSoftsign,
    .flags = kElementwise,
};
constexpr OpDef kOp_Swish = {
    .name = "Swish",
    .inputs = {{"X", kFloats}},
    .attributes = {attr::Float("alpha", 1.0f)},
    .infer = SameAsFirst,
    .expand = ExpandSwish,
    .flags = kElementwise,
};
constexpr OpDef kOp_ThresholdedRelu = {
    .name = "ThresholdedRelu",
    .inputs = {{"X", kFloats}},
    .attributes = {attr::Float("alpha", 1.0f)},
    .infer = SameAsFirst,
    .expand = ExpandThresholdedRelu,
    .flags = kElementwise,
};
constexpr OpDef kOp_PRelu = {
    .name = "PRelu",
    .inputs = {{"X", kFloats | kWideInts, 'T'}, {"slope", kFloats | kWideInts, 'T'}},
    .infer = InferPRelu,
    .expand = ExpandPRelu,
    .flags = kElementwise,
};
constexpr OpDef kOp_SwiGLU = {
    .name = "SwiGLU",
    .inputs = {{"A", kFloats, 'T'}, {"B", kFloats, 'T'}},
    .attributes = {attr::Float("alpha", 1.0f)},
    .infer = InferSwiGLU,
    .expand = ExpandSwiGLU,
    .flags = kElementwise,
};
constexpr OpDef kOp_Gelu = {
    .name = "Gelu",
    .inputs = {{"X", kFloats}},
    .attributes = {attr::String("approximate", "none")},
    .infer = InferGelu,
    .expand = ExpandGelu,
    .flags = kElementwise,
};
constexpr OpDef kOp_Clip = {
    .name = "Clip",
    .inputs = {{"input", kNumbers, 'T'},
               {"min", kNumbers, 'T', Param::kOptional},
               {"max", kNumbers, 'T', Param::kOptional}},
    .infer = InferClip,
    .expand = ExpandClip,
    .flags = kElementwise,
};

}  // namespace ziggurat
