// Ops of classical machine learning (domain ai.onnx.ml) that are arithmetic and look-ups.
#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

void ExpandBinarizer(Expander& e) {
  Value* x = e.In(0);
  // Integers compare as float64, which holds all of 32 bits and a threshold between two of them.
  Value* wide = IsFloat(x->type.dtype) ? x : e.Cast(x, DType::kFloat64);
  e.Return(0, e.Op("Greater", {wide, e.ScalarLike(wide, e.node().Float("threshold"))}));
}

void InferArrayFeatureExtractor(InferContext& c) {
  c.ExpectRank(0, 1, kMaxRank);
  if (!c.HasRank(0)) return c.SetUnranked(0, c.InputDType(0));
  std::vector<Dim> out = c.InputShape(0);
  if (out.size() == 1) out.insert(out.begin(), Dim(1));
  out.back() = c.HasRank(1) ? Product(c.InputShape(1)) : c.NewSymbol("features");
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

void ExpandArrayFeatureExtractor(Expander& e) {
  Value* x = e.Rank(e.In(0)) == 1 ? e.Op("Unsqueeze", {e.In(0), e.Ints({0})}) : e.In(0);
  e.Return(0, e.Op("Gather", {x, e.Reshape(e.In(1), {-1})}, {{"axis", int64_t{-1}}}));
}

// A list of labels: attribute prefix_tensor, prefix_strings, prefix_int64s or prefix_floats; null if the node has none.
std::shared_ptr<Constant> Labels(const Node& node, std::string_view prefix) {
  auto name = [prefix](const char* suffix) { return Cat(prefix, suffix); };
  if (auto tensor = node.Tensor(name("_tensor"))) return tensor;
  if (node.Has(name("_int64s"))) return Constant::Int64s(node.Ints(name("_int64s")));
  if (node.Has(name("_strings"))) {
    const std::vector<std::string> values = node.Strings(name("_strings"));
    return Constant::Strings(Shape{static_cast<int64_t>(values.size())}, values);
  }
  if (!node.Has(name("_floats"))) return nullptr;
  const std::vector<float> values = node.Floats(name("_floats"));
  return Constant::Copy(DType::kFloat32, Shape{static_cast<int64_t>(values.size())}, values.data(),
                        values.size() * sizeof(float));
}

// What stands for a label that no key names.
std::shared_ptr<Constant> DefaultLabel(const Node& node, DType dtype) {
  if (auto tensor = node.Tensor("default_tensor"); tensor && tensor->dtype() == dtype) return tensor;
  if (dtype == DType::kString) return Constant::Strings(Shape{}, {node.String("default_string")});
  if (dtype == DType::kInt64) return Constant::Scalar(dtype, node.Int("default_int64"));
  if (dtype == DType::kFloat32) return Constant::Scalar(dtype, node.Float("default_float"));
  return Constant::Zeros(dtype, Shape{});
}

void InferLabelEncoder(InferContext& c) {
  const auto keys = Labels(c.node(), "keys"), values = Labels(c.node(), "values");
  if (!keys || !values) c.Fail("has no keys or no values");
  if (keys->shape().Count() != values->shape().Count())
    c.Fail("has ", keys->shape().Count(), " keys and ", values->shape().Count(), " values");
  if (keys->dtype() != c.InputDType(0) && c.InputDType(0) != DType::kUndefined)
    c.Fail("keys are ", Name(keys->dtype()), ", the input is ", Name(c.InputDType(0)));
  c.SetOutput(0, Type::Tensor(values->dtype(), c.InputType(0).shape));
}

// Compares with every key and gathers the value of the one that matches.
void ExpandLabelEncoder(Expander& e) {
  const auto keys = Labels(e.node(), "keys"), values = Labels(e.node(), "values");
  Value* fallback = e.Reshape(e.Constant(DefaultLabel(e.node(), values->dtype())), {});
  if (keys->shape().Count() == 0) return e.Return(0, e.Op("Expand", {fallback, e.ShapeOf(e.In(0))}));
  Value* x = e.Op("Unsqueeze", {e.In(0), e.Ints({-1})});
  Value* same = e.Op("Equal", {x, e.Reshape(e.Constant(keys), {-1})});
  if (IsFloat(keys->dtype())) {
    // Here NaN is a key like any other.
    Value* both = e.Op("And", {e.Op("IsNaN", {x}), e.Op("IsNaN", {e.Reshape(e.Constant(keys), {-1})})});
    same = e.Op("Or", {same, both});
  }
  Value* match = e.Cast(same, DType::kInt32);
  const Attributes last = {{"axis", int64_t{-1}}, {"keepdims", int64_t{0}}};
  Value* found = e.Op("ReduceMax", {match, e.Ints({-1})}, {{"keepdims", int64_t{0}}});
  Value* label = e.Op("Gather", {e.Reshape(e.Constant(values), {-1}), e.Op("ArgMax", {match}, last)});
  e.Return(0, e.Op("Where", {e.Cast(found, DType::kBool), label, fallback}));
}

}  // namespace

constexpr OpDef kOp_MlBinarizer = {
    .name = "Binarizer",
    .domain = "ai.onnx.ml",
    .inputs = {{"X", kNumbers}},
    .attributes = {attr::Float("threshold", 0.0f)},
    .infer = SameAsFirst,
    .expand = ExpandBinarizer,
    .flags = kElementwise,
};
constexpr OpDef kOp_MlArrayFeatureExtractor = {
    .name = "ArrayFeatureExtractor",
    .domain = "ai.onnx.ml",
    .inputs = {{"X", kNumbers | kStrings}, {"Y", kInt64s}},
    .infer = InferArrayFeatureExtractor,
    .expand = ExpandArrayFeatureExtractor,
};
constexpr OpDef kOp_MlLabelEncoder = {
    .name = "LabelEncoder",
    .domain = "ai.onnx.ml",
    .inputs = {{"X", kNumbers | kStrings}},
    .attributes = {attr::Float("default_float", -0.0f), attr::Int("default_int64", -1),
                   attr::String("default_string", "_Unused"), attr::Tensor("default_tensor"),
                   attr::Floats("keys_floats"), attr::Ints("keys_int64s"), attr::Strings("keys_strings"),
                   attr::Tensor("keys_tensor"), attr::Floats("values_floats"), attr::Ints("values_int64s"),
                   attr::Strings("values_strings"), attr::Tensor("values_tensor")},
    .infer = InferLabelEncoder,
    .expand = ExpandLabelEncoder,
};

}  // namespace ziggurat
