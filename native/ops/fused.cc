// Our own fused ops: a product or convolution with what usually follows it, in this order: + bias, + residual,
// activation. Their expansions are the unfused nodes. The activation is three attributes:
//
//   activation         "" (none), relu, leaky_relu, clip, sigmoid, hard_sigmoid, tanh, silu, swish, hard_swish,
//                      gelu_erf, gelu_tanh
//   activation_alpha   leaky_relu: the slope below zero; clip: the lower bound; hard_sigmoid and
//                      swish: the factor
//   activation_beta    clip: the upper bound; hard_sigmoid: the offset
#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

// Applies the activation that the node names; "" is none.
Value* Activate(Expander& e, Value* x) {
  const std::string name = e.node().String("activation");
  const float alpha = e.node().Float("activation_alpha"), beta = e.node().Float("activation_beta");
  if (name.empty()) return x;
  if (name == "relu") return e.Op("Relu", {x});
  if (name == "sigmoid") return e.Op("Sigmoid", {x});
  if (name == "tanh") return e.Op("Tanh", {x});
  if (name == "hard_swish") return e.Op("HardSwish", {x});
  if (name == "silu") return e.Op("Swish", {x});
  if (name == "swish") return e.Op("Swish", {x}, {{"alpha", alpha}});
  if (name == "leaky_relu") return e.Op("LeakyRelu", {x}, {{"alpha", alpha}});
  if (name == "hard_sigmoid") return e.Op("HardSigmoid", {x}, {{"alpha", alpha}, {"beta", beta}});
  if (name == "gelu_erf") return e.Op("Gelu", {x});
  if (name == "gelu_tanh") return e.Op("Gelu", {x}, {{"approximate", "tanh"}});
  return e.Op("Clip", {x, e.ScalarLike(x, alpha), e.ScalarLike(x, beta)});
}

void CheckActivation(InferContext& c) {
  Choice(c, "activation",
         {"", "relu", "sigmoid", "tanh", "hard_swish", "silu", "swish", "leaky_relu", "hard_sigmoid", "gelu_erf",
          "gelu_tanh", "clip"});
}

// The node's attributes without those that are ours: those of the unfused op.
Attributes Plain(const Node& node) {
  Attributes attributes = node.attributes;
  for (const char* name : {"activation", "activation_alpha", "activation_beta", "channels_last"})
    attributes.erase(name);
  return attributes;
}

// The residual has the output's very shape: a fused op never broadcasts it.
void CheckResidual(InferContext& c, int residual) {
  if (!c.HasRank(residual) || !c.output_types[0].HasRank()) return;
  const auto &have = c.InputShape(residual), &want = *c.output_types[0].shape;
  if (have.size() != want.size()) c.Fail("residual ", ToString(c, have), " does not have shape ", ToString(c, want));
  for (size_t i = 0; i < have.size(); ++i) c.Same(have[i], want[i], Cat("dimensions ", i, " of output and residual"));
}

void InferFusedConv(InferContext& c) {
  CheckActivation(c);
  GetOp("Conv").infer(c);
  CheckResidual(c, 3);
}

void ExpandFusedConv(Expander& e) {
  const bool channels_last = e.node().Int("channels_last") != 0;
  Value* x = e.Wide(e.In(0));
  std::vector<Value*> inputs = {channels_last ? e.ChannelsFirst(x) : x, e.Wide(e.In(1))};
  if (e.HasIn(2)) inputs.push_back(e.Wide(e.In(2)));
  Value* y = e.Op("Conv", std::move(inputs), Plain(e.node()));
  if (channels_last) y = e.ChannelsLast(y);
  if (e.HasIn(3)) y = e.Op("Add", {y, e.Wide(e.In(3))});
  e.Return(0, Activate(e, y));
}

// As MatMul, of matrices whose last two axes may be swapped first.
void InferFusedMatMul(InferContext& c) {
  CheckActivation(c);
  c.ExpectRank(0, 2, kMaxRank);
  c.ExpectRank(1, 2, kMaxRank);
  c.ExpectRank(2, 0, 1);
  if (!c.HasRank(0) || !c.HasRank(1)) return c.SetUnranked(0, c.InputDType(0));
  std::vector<Dim> a = c.InputShape(0), b = c.InputShape(1);
  if (c.node().Int("transA")) std::swap(a.back(), a[a.size() - 2]);
  if (c.node().Int("transB")) std::swap(b.back(), b[b.size() - 2]);
  c.Same(a.back(), b[b.size() - 2], "inner dimensions");
  std::vector<Dim> out = c.BroadcastShapes({a.begin(), a.end() - 2}, {b.begin(), b.end() - 2});
  out.push_back(a[a.size() - 2]);
  out.push_back(b.back());
  if (c.HasRank(2) && c.InputType(2).Rank() == 1 && !c.InputShape(2)[0].IsConst(1))
    c.Same(out.back(), c.InputShape(2)[0], "columns and bias length");
  c.SetOutput(0, c.InputDType(0), std::move(out));
  CheckResidual(c, 3);
}

Value* SwapLast(Expander& e, Value* x) {
  const int rank = e.Rank(x);
  std::vector<int64_t> perm(rank);
  for (int i = 0; i < rank; ++i) perm[i] = i;
  std::swap(perm[rank - 1], perm[rank - 2]);
  return e.Op("Transpose", {x}, {{"perm", std::move(perm)}});
}

void ExpandFusedMatMul(Expander& e) {
  const Node& node = e.node();
  Value *a = e.Wide(e.In(0)), *b = e.Wide(e.In(1));
  if (node.Int("transA")) a = SwapLast(e, a);
  if (node.Int("transB")) b = SwapLast(e, b);
  Value* y = e.Op("MatMul", {a, b});
  const float alpha = node.Float("alpha"), beta = node.Float("beta");
  if (alpha != 1.0f) y = e.Op("Mul", {y, e.ScalarLike(y, alpha)});
  if (e.HasIn(2)) {
    Value* bias = e.Wide(e.In(2));
    y = e.Op("Add", {y, beta == 1.0f ? bias : e.Op("Mul", {bias, e.ScalarLike(bias, beta)})});
  }
  if (e.HasIn(3)) y = e.Op("Add", {y, e.Wide(e.In(3))});
  e.Return(0, Activate(e, y));
}

// How many products a zig.SharedMatMul holds: one an output.
int Products(const Node& node) { return static_cast<int>(node.outputs.size()); }

void InferSharedMatMul(InferContext& c) {
  const int products = Products(c.node());
  const bool biased = c.num_inputs() == 1 + 2 * products;
  if (!biased && c.num_inputs() != 1 + products)
    c.Fail(c.num_inputs(), " inputs for ", products, " products: A, a B each, and a bias each or none");
  for (int i = 0; i < c.num_inputs(); ++i)
    if (!c.HasInput(i)) c.Fail("input ", i, " is absent");
  c.ExpectRank(0, 2, kMaxRank);
  for (int i = 0; i < products; ++i) {
    c.ExpectRank(1 + i, 2);
    if (biased) c.ExpectRank(1 + products + i, 1);
    if (!c.HasRank(0) || !c.HasRank(1 + i)) {
      c.SetUnranked(i, c.InputDType(0));
      continue;
    }
    const auto& b = c.InputShape(1 + i);
    std::vector<Dim> out = c.InputShape(0);
    c.Same(out.back(), b[0], "inner dimensions");
    out.back() = b[1];
    if (biased && c.HasRank(1 + products + i))
      c.Same(b[1], c.InputShape(1 + products + i)[0], "columns and bias length");
    c.SetOutput(i, c.InputDType(0), std::move(out));
  }
}

void ExpandSharedMatMul(Expander& e) {
  const int products = Products(e.node());
  for (int i = 0; i < products; ++i) {
    Value* y = e.Op("MatMul", {e.Wide(e.In(0)), e.Wide(e.In(1 + i))});
    if (e.HasIn(1 + products)) y = e.Op("Add", {y, e.Wide(e.In(1 + products + i))});
    e.Return(i, y);
  }
}

}  // namespace

// With channels_last 1, X, the residual and Y are [N, spatial..., C]; W is [O, I/group, kernel...] all the same.
constexpr OpDef kOp_ZigFusedConv = {
    .name = "FusedConv",
    .domain = "zig",
    .inputs = {{"X", kFloats, 'T'},
               {"W", kFloats, 'T'},
               {"B", kFloats, 'T', Param::kOptional},
               {"residual", kFloats, 'T', Param::kOptional}},
    .attributes = {attr::String("activation", ""), attr::Float("activation_alpha", 0.0f),
                   attr::Float("activation_beta", 0.0f), attr::String("auto_pad", "NOTSET"),
                   attr::Int("channels_last", 0), attr::Ints("dilations"), attr::Int("group", 1),
                   attr::Ints("kernel_shape"), attr::Ints("pads"), attr::Ints("strides")},
    .infer = InferFusedConv,
    .expand = ExpandFusedConv,
};

// activation(alpha * op(A) @ op(B) + beta * bias + residual); bias has one element a column.
constexpr OpDef kOp_ZigFusedMatMul = {
    .name = "FusedMatMul",
    .domain = "zig",
    .inputs = {{"A", kFloats, 'T'},
               {"B", kFloats, 'T'},
               {"bias", kFloats, 'T', Param::kOptional},
               {"residual", kFloats, 'T', Param::kOptional}},
    .attributes = {attr::String("activation", ""), attr::Float("activation_alpha", 0.0f),
                   attr::Float("activation_beta", 0.0f), attr::Float("alpha", 1.0f), attr::Float("beta", 1.0f),
                   attr::Int("transA", 0), attr::Int("transB", 0)},
    .infer = InferFusedMatMul,
    .expand = ExpandFusedMatMul,
};

// Products that share their left side: A @ B[i] + bias[i], an output each. The inputs are A, all B, and all biases or
// none.
constexpr OpDef kOp_ZigSharedMatMul = {
    .name = "SharedMatMul",
    .domain = "zig",
    .inputs = {{"A", kFloats, 'T'}, {"B_and_bias", kFloats, 'T', Param::kMany}},
    .max_outputs = -1,
    .infer = InferSharedMatMul,
    .expand = ExpandSharedMatMul,
};

}  // namespace ziggurat
