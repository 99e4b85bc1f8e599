#include "passes/epilogue.h"

#include <cstring>
#include <limits>

#include "ops/op_def.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

// A bound of Clip: the constant's value, `fallback` where it is absent, nothing where it is not known.
std::optional<float> Bound(const Value* value, float fallback) {
  if (!value) return fallback;
  const auto bound = UniformReal(value);
  return bound ? std::optional<float>(static_cast<float>(*bound)) : std::nullopt;
}

bool SameFloatTypes(const Node& node) {
  const Value *input = node.Input(0), *output = node.Output(0);
  return input && output && SameType(input, output);
}

// The other operand of an Add, or of a Sum of two, which is the same; or null.
Value* Addend(const Node& node, const Value* one) {
  const bool adds = node.op->Is("Add") || (node.op->Is("Sum") && node.inputs.size() == 2);
  if (!adds || node.Input(0) == node.Input(1)) return nullptr;
  return node.Input(0) == one ? node.Input(1) : node.Input(0);
}

// Takes `node`, which follows `value`, into the epilogue if it fits there.
bool Take(Epilogue& epilogue, Node& node, Value* value, int bias_axis) {
  if (epilogue.activation || !SameType(value, node.Output(0))) return false;
  if (Value* addend = Addend(node, value)) {
    if (bias_axis >= 0 && !epilogue.bias && !epilogue.residual) {
      epilogue.bias = AlongAxis(addend, *value->type.shape, bias_axis);
      if (epilogue.bias) return true;
    }
    if (epilogue.residual || !SameType(addend, value)) return false;
    epilogue.residual = addend;
    return true;
  }
  if (node.Input(0) != value || !SameFloatTypes(node)) return false;
  epilogue.activation = ActivationOf(node);
  return epilogue.activation.has_value();
}

}  // namespace

std::optional<Activation> ActivationOf(const Node& node) {
  const OpDef& op = *node.op;
  if (op.Is("Relu")) return Activation{"relu"};
  if (op.Is("Sigmoid")) return Activation{"sigmoid"};
  if (op.Is("Tanh")) return Activation{"tanh"};
  if (op.Is("HardSwish")) return Activation{"hard_swish"};
  if (op.Is("LeakyRelu")) return Activation{"leaky_relu", node.Float("alpha", 0.01f)};
  if (op.Is("HardSigmoid")) return Activation{"hard_sigmoid", node.Float("alpha", 0.2f), node.Float("beta", 0.5f)};
  if (op.Is("Swish")) {
    const float alpha = node.Float("alpha", 1.0f);
    return alpha == 1.0f ? Activation{"silu"} : Activation{"swish", alpha};
  }
  if (op.Is("Gelu")) return Activation{node.String("approximate", "none") == "tanh" ? "gelu_tanh" : "gelu_erf"};
  if (op.Is("Clip")) {
    const auto low = Bound(node.Input(1), -std::numeric_limits<float>::infinity());
    const auto high = Bound(node.Input(2), std::numeric_limits<float>::infinity());
    if (!low || !high || !(*low <= *high)) return std::nullopt;
    return Activation{"clip", *low, *high};
  }
  return std::nullopt;
}

std::shared_ptr<Constant> AlongAxis(const Value* value, const std::vector<Dim>& shape, int axis) {
  if (!value->IsConstant() || !shape[axis].IsConst() || ByteSize(value->type.dtype) == 0) return nullptr;
  const Shape& have = value->constant->shape();
  const int64_t channels = shape[axis].Const(), count = have.Count();
  const int shift = static_cast<int>(shape.size()) - have.rank();
  if (shift < 0 || (count != 1 && count != channels)) return nullptr;
  for (int i = 0; i < have.rank(); ++i)
    if (have[i] != 1 && i + shift != axis) return nullptr;
  auto out = Constant::Zeros(value->type.dtype, Shape{channels});
  const TensorView from = value->constant->View(), to = out->View();
  const size_t size = ByteSize(from.dtype);
  for (int64_t i = 0; i < channels; ++i)
    std::memcpy(to.As<char>() + i * size, from.As<char>() + (count == 1 ? 0 : i * size), size);
  return out;
}

Epilogue FollowEpilogue(Node& producer, int bias_axis) {
  Epilogue epilogue;
  epilogue.last = &producer;
  while (true) {
    Value* value = epilogue.last->Output(0);
    if (!value->type.HasRank() || !UsedOnce(value)) return epilogue;
    Node* next = value->users[0];
    if (next->outputs.size() != 1 || !Take(epilogue, *next, value, bias_axis)) return epilogue;
    epilogue.last = next;
    epilogue.changed = true;
  }
}

void SetActivation(Attributes& attributes, const Activation& activation) {
  attributes["activation"] = activation.name;
  attributes["activation_alpha"] = activation.alpha;
  attributes["activation_beta"] = activation.beta;
}

}  // namespace ziggurat
