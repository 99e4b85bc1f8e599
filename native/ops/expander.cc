#include "ops/expander.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace ziggurat {
namespace {

// Round to nearest even; NaN stays NaN.
uint16_t ToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

uint16_t ToFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return sign | 0x7e00;
  if (magnitude >= 65520.0f) return sign | 0x7c00;
  // Steps of a subnormal are 2^-24; a normal number's are 2^(exponent - 10). nearbyint rounds to even.
  const int exponent = magnitude > 0 ? std::max(std::ilogb(magnitude), -14) : -14;
  const uint32_t steps = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
  // A carry out of the fraction moves into the exponent by itself.
  return static_cast<uint16_t>(sign | (((exponent + 14) << 10) + steps));
}

template <typename T>
std::shared_ptr<Constant> Make(DType dtype, double value) {
  return Constant::Scalar(dtype, static_cast<T>(value));
}

std::shared_ptr<Constant> MakeScalar(DType dtype, double value) {
  switch (dtype) {
    case DType::kFloat32:
      return Make<float>(dtype, value);
    case DType::kFloat64:
      return Make<double>(dtype, value);
    case DType::kFloat16:
      return Constant::Scalar(dtype, ToFloat16(static_cast<float>(value)));
    case DType::kBFloat16:
      return Constant::Scalar(dtype, ToBFloat16(static_cast<float>(value)));
    case DType::kInt64:
      return Make<int64_t>(dtype, value);
    case DType::kUint64:
      return Make<uint64_t>(dtype, value);
    case DType::kInt32:
      return Make<int32_t>(dtype, value);
    case DType::kUint32:
      return Make<uint32_t>(dtype, value);
    case DType::kInt16:
      return Make<int16_t>(dtype, value);
    case DType::kUint16:
      return Make<uint16_t>(dtype, value);
    case DType::kInt8:
      return Make<int8_t>(dtype, value);
    case DType::kUint8:
    case DType::kBool:
      return Make<uint8_t>(dtype, value);
    default:
      throw Error(Code::kUnsupported, "an expansion needs a ", Name(dtype), " constant");
  }
}

}  // namespace

Value* Expander::Op(std::string_view name, std::vector<Value*> inputs, Attributes attributes) {
  return node_.graph->Add(GetOp(name), std::move(inputs), std::move(attributes), &node_);
}

std::vector<Value*> Expander::Ops(std::string_view name, std::vector<Value*> inputs, Attributes attributes,
                                  int outputs) {
  const Node* made = node_.graph->AddNode(GetOp(name), std::move(inputs), std::move(attributes),
                                          std::vector<std::string>(outputs), node_.name, &node_);
  return made->outputs;
}

Value* Expander::Constant(std::shared_ptr<ziggurat::Constant> constant) {
  return node_.graph->AddConstant(std::move(constant));
}
Value* Expander::Scalar(DType dtype, double value) { return Constant(MakeScalar(dtype, value)); }
Value* Expander::ScalarLike(Value* like, double value) { return Scalar(like->type.dtype, value); }
Value* Expander::Ints(std::vector<int64_t> values) { return Constant(ziggurat::Constant::Int64s(values)); }
Value* Expander::Int(int64_t value) { return Constant(ziggurat::Constant::Scalar(DType::kInt64, value)); }

Value* Expander::Cast(Value* value, DType dtype) {
  if (value->type.dtype == dtype) return value;
  return Op("Cast", {value}, {{"to", static_cast<int64_t>(dtype)}});
}

Value* Expander::Wide(Value* value) {
  const DType dtype = value->type.dtype;
  return dtype == DType::kFloat16 || dtype == DType::kBFloat16 ? Cast(value, DType::kFloat32) : value;
}

Value* Expander::ChannelsFirst(Value* value) {
  std::vector<int64_t> perm = {0, Rank(value) - 1};
  for (int i = 1; i + 1 < Rank(value); ++i) perm.push_back(i);
  return Op("Transpose", {value}, {{"perm", std::move(perm)}});
}

Value* Expander::ChannelsLast(Value* value) {
  std::vector<int64_t> perm = {0};
  for (int i = 2; i < Rank(value); ++i) perm.push_back(i);
  perm.push_back(1);
  return Op("Transpose", {value}, {{"perm", std::move(perm)}});
}

Value* Expander::Reshape(Value* value, std::vector<int64_t> shape) {
  return Op("Reshape", {value, Ints(std::move(shape))});
}

Value* Expander::ShapeOf(Value* value, int64_t start, int64_t end) {
  return Op("Shape", {value}, {{"start", start}, {"end", end}});
}

Value* Expander::ShapeOf(Value* value) { return Op("Shape", {value}); }

Value* Expander::Join(std::vector<Value*> vectors) {
  return vectors.size() == 1 ? vectors[0] : Op("Concat", std::move(vectors), {{"axis", int64_t{0}}});
}

void Expander::Return(int output, Value* value) {
  Value* old = node_.Output(output);
  if (!old) return;
  if (old->type.IsTensor()) value = Cast(value, old->type.dtype);
  retyped_ |= !(value->type == old->type);
  node_.graph->ReplaceAllUses(old, value);
}

int Expander::Rank(const Value* value) const {
  if (!value->type.HasRank()) Fail("the rank of '", value->name, "' must be known");
  return value->type.Rank();
}

void Expander::Expand(Node& node) {
  if (!node.op->expand) throw Error(Code::kInternal, "no expansion").AtNode(node.op->name, node.name);
  Graph& graph = *node.graph;
  Expander expander(node);
  node.op->expand(expander);
  graph.Erase(&node);
  // A dimension that a step sets is named after its value: users must not name one that is gone.
  if (expander.retyped_) graph.root().InferAll();
}

}  // namespace ziggurat
