// Ops that make tensors out of numbers: constants, ranges, windows and random draws.
#include <algorithm>
#include <cmath>

#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

// The tensor a Constant node stands for.
std::shared_ptr<Constant> ConstantOf(const Node& node) {
  if (auto tensor = node.Tensor("value")) return tensor;
  if (node.Has("value_int")) return Constant::Scalar(DType::kInt64, node.Int("value_int"));
  if (node.Has("value_float")) return Constant::Scalar(DType::kFloat32, node.Float("value_float"));
  if (node.Has("value_string")) return Constant::Strings(Shape{}, {node.String("value_string")});
  if (node.Has("value_ints")) return Constant::Int64s(node.Ints("value_ints"));
  if (node.Has("value_floats")) {
    const std::vector<float> values = node.Floats("value_floats");
    return Constant::Copy(DType::kFloat32, Shape{static_cast<int64_t>(values.size())}, values.data(),
                          values.size() * sizeof(float));
  }
  if (node.Has("value_strings")) {
    const std::vector<std::string> values = node.Strings("value_strings");
    return Constant::Strings(Shape{static_cast<int64_t>(values.size())}, values);
  }
  throw Error(Code::kInvalidModel, "has no value");
}

void InferConstant(InferContext& c) {
  const auto value = ConstantOf(c.node());
  c.SetOutput(0, Type::Tensor(value->dtype(), value->shape()));
}

void ConstantContents(InferContext& c) {
  const auto value = ConstantOf(c.node());
  if (!IsShapeType(value->dtype()) || !SmallCount(c.output_types[0])) return;
  const std::vector<int64_t> numbers = value->ToInt64s();
  c.SetContents(0, {numbers.begin(), numbers.end()});
}

void ExpandConstant(Expander& e) { e.Return(0, e.Constant(ConstantOf(e.node()))); }

void InferConstantOfShape(InferContext& c) {
  c.ExpectRank(0, 1);
  const auto value = c.node().Tensor("value");
  if (value && value->shape().Count() != 1) c.Fail("value has ", value->shape().Count(), " elements, expected 1");
  const DType dtype = value ? value->dtype() : DType::kFloat32;
  if (auto shape = c.Contents(0)) return c.SetOutput(0, dtype, std::move(*shape));
  if (!c.HasRank(0) || !c.InputShape(0)[0].IsConst()) return c.SetUnranked(0, dtype);
  const int64_t rank = c.InputShape(0)[0].Const();
  if (rank > kMaxRank) c.Fail("shape has ", rank, " dimensions, the most is ", kMaxRank);
  c.SetOutput(0, dtype, c.NewSymbols("filled", static_cast<int>(rank)));
}

void ConstantOfShapeContents(InferContext& c) {
  const auto value = c.node().Tensor("value");
  const auto count = SmallCount(c.output_types[0]);
  if (value && count && IsShapeType(value->dtype()))
    c.SetContents(0, std::vector<Dim>(*count, Dim(value->ToInt64s()[0])));
}

// Elements of a range of floats, counted as kernels do: in double.
std::optional<Dim> FloatRangeSize(const InferContext& c) {
  const auto start = c.Floats(0), limit = c.Floats(1), delta = c.Floats(2);
  if (!start || !limit || !delta || start->size() != 1 || limit->size() != 1 || delta->size() != 1) return std::nullopt;
  const double count = std::ceil((static_cast<double>((*limit)[0]) - (*start)[0]) / (*delta)[0]);
  if (!(count < 9e15)) c.Fail("a range from ", (*start)[0], " to ", (*limit)[0], " in steps of ", (*delta)[0]);
  return Dim(static_cast<int64_t>(std::max(count, 0.0)));
}

std::optional<Dim> RangeSize(const InferContext& c) {
  if (IsFloat(c.InputDType(0))) return FloatRangeSize(c);
  const auto start = c.Contents(0), limit = c.Contents(1), delta = c.Contents(2);
  if (!start || !limit || !delta || start->size() != 1 || limit->size() != 1 || delta->size() != 1) return std::nullopt;
  if ((*delta)[0].IsConst(0)) c.Fail("delta is 0");
  if (!(*delta)[0].IsConst()) return std::nullopt;
  const Dim distance = (*limit)[0] - (*start)[0];
  return Max(
      (*delta)[0].Const() > 0 ? CeilDiv(distance, (*delta)[0]) : CeilDiv(Dim(0) - distance, Dim(0) - (*delta)[0]), 0);
}

void InferRange(InferContext& c) {
  for (int i = 0; i < 3; ++i) {
    c.ExpectRank(i, 0, 1);
    if (c.HasRank(i) && Product(c.InputShape(i)).IsConst() && !Product(c.InputShape(i)).IsConst(1))
      c.Fail("start, limit and delta have one element each, not ", ToString(c, c.InputShape(i)));
  }
  const auto size = RangeSize(c);
  c.SetOutput(0, c.InputDType(0), {size ? *size : c.NewSymbol("range")});
}

void RangeContents(InferContext& c) {
  const auto count = SmallCount(c.output_types[0]);
  if (!count || !IsShapeType(c.InputDType(0))) return;
  const auto start = c.Contents(0), delta = c.Contents(2);
  if (!start || !delta) return;
  std::vector<Dim> out;
  for (int64_t i = 0; i < *count; ++i) out.push_back((*start)[0] + Dim(i) * (*delta)[0]);
  c.SetContents(0, std::move(out));
}

void InferEyeLike(InferContext& c) {
  c.ExpectRank(0, 2);
  c.SetOutput(0, Type::Tensor(DTypeAttribute(c, "dtype", c.InputDType(0), kNumbers | kBools), c.InputType(0).shape));
}

void InferRandom(InferContext& c) {
  const std::vector<int64_t> shape = c.node().Ints("shape");
  c.SetOutput(0, DTypeAttribute(c, "dtype", DType::kFloat32, kFloats), {shape.begin(), shape.end()});
}

void InferRandomLike(InferContext& c) {
  c.SetOutput(0, Type::Tensor(DTypeAttribute(c, "dtype", c.InputDType(0), kFloats), c.InputType(0).shape));
}

void InferBernoulli(InferContext& c) {
  c.SetOutput(0, Type::Tensor(DTypeAttribute(c, "dtype", c.InputDType(0), kNumbers | kBools), c.InputType(0).shape));
}

Attributes Seed(Expander& e) {
  if (!e.node().Has("seed")) return {};
  return {{"seed", e.node().Float("seed")}};
}

void ExpandBernoulli(Expander& e) {
  Attributes attributes = Seed(e);
  attributes["dtype"] = static_cast<int64_t>(DType::kFloat32);
  Value* draw = e.Op("RandomUniformLike", {e.In(0)}, std::move(attributes));
  e.Return(0, e.Op("Less", {draw, e.Cast(e.In(0), DType::kFloat32)}));
}

void InferMultinomial(InferContext& c) {
  c.ExpectRank(0, 2);
  const int64_t samples = c.node().Int("sample_size");
  if (samples < 0) c.Fail("sample_size is ", samples);
  c.SetOutput(0, DTypeAttribute(c, "dtype", DType::kInt32, kIndices),
              {c.HasRank(0) ? c.InputShape(0)[0] : c.NewSymbol("batch"), samples});
}

void InferDropout(InferContext& c) {
  c.ExpectRank(1, 0, 1);
  c.ExpectRank(2, 0, 1);
  c.CopyType(0);
  c.SetOutput(1, Type::Tensor(DType::kBool, c.InputType(0).shape));
}

// Identity, unless an input says that this is training: then elements are dropped with probability `ratio`, and what
// is kept is scaled so that sums keep their mean.
void ExpandDropout(Expander& e) {
  Value* data = e.In(0);
  Value* training = e.HasIn(2) ? e.In(2) : nullptr;
  const bool off =
      !training || (training->contents && training->contents->size() == 1 && (*training->contents)[0].IsConst(0));
  if (off) {
    e.Return(0, e.Op("Identity", {data}));
    if (e.HasOut(1)) e.Return(1, e.Op("Expand", {e.Scalar(DType::kBool, 1), e.ShapeOf(data)}));
    return;
  }
  training = e.Reshape(training, {});
  Value* ratio = e.HasIn(1) ? e.Reshape(e.Cast(e.In(1), DType::kFloat32), {}) : e.Scalar(DType::kFloat32, 0.5);
  Attributes attributes = {{"dtype", static_cast<int64_t>(DType::kFloat32)}};
  if (e.node().Has("seed")) attributes["seed"] = static_cast<float>(e.node().Int("seed"));
  Value* draw = e.Op("RandomUniformLike", {data}, std::move(attributes));
  Value* kept = e.Op("Or", {e.Op("GreaterOrEqual", {draw, ratio}), e.Op("Not", {training})});
  Value* x = e.Cast(data, DType::kFloat32);
  Value* scale = e.Op(
      "Where", {training, e.Op("Reciprocal", {e.Op("Sub", {e.ScalarLike(ratio, 1), ratio})}), e.ScalarLike(ratio, 1)});
  e.Return(0, e.Op("Where", {kept, e.Op("Mul", {x, scale}), e.ScalarLike(x, 0)}));
  e.Return(1, kept);
}

void InferWindow(InferContext& c) {
  c.ExpectRank(0, 0, 1);
  const auto size = c.Contents(0);
  const DType dtype = DTypeAttribute(c, "output_datatype", DType::kFloat32, kNumbers);
  c.SetOutput(0, dtype, {size && size->size() == 1 ? (*size)[0] : c.NewSymbol("window")});
}

// A sum of cosines of 2 pi n / N, in double: near its zeros float32 would lose every digit.
Value* CosineWindow(Expander& e, const std::vector<double>& coefficients) {
  Value* size = e.Reshape(e.Cast(e.In(0), DType::kInt64), {});
  Value* n = e.Cast(e.Op("Range", {e.Int(0), size, e.Int(1)}), DType::kFloat64);
  Value* period = e.node().Int("periodic") ? size : e.Op("Sub", {size, e.Int(1)});
  Value* turn = e.Op("Div", {e.Op("Mul", {n, e.Scalar(DType::kFloat64, 2 * M_PI)}), e.Cast(period, DType::kFloat64)});
  Value* y = e.Scalar(DType::kFloat64, coefficients[0]);
  for (size_t k = 1; k < coefficients.size(); ++k) {
    Value* wave = e.Op("Cos", {e.Op("Mul", {turn, e.Scalar(DType::kFloat64, static_cast<double>(k))})});
    y = e.Op("Add", {y, e.Op("Mul", {wave, e.Scalar(DType::kFloat64, coefficients[k])})});
  }
  return y;
}

void ExpandBlackmanWindow(Expander& e) { e.Return(0, CosineWindow(e, {0.42, -0.5, 0.08})); }
void ExpandHannWindow(Expander& e) { e.Return(0, CosineWindow(e, {0.5, -0.5})); }
void ExpandHammingWindow(Expander& e) { e.Return(0, CosineWindow(e, {25.0 / 46.0, -21.0 / 46.0})); }

}  // namespace

constexpr OpDef kOp_Constant = {
    .name = "Constant",
    .attributes = {attr::Tensor("value"), attr::Float("value_float"), attr::Floats("value_floats"),
                   attr::Int("value_int"), attr::Ints("value_ints"), attr::String("value_string"),
                   attr::Strings("value_strings")},
    .infer = InferConstant,
    .contents = ConstantContents,
    .expand = ExpandConstant,
};
constexpr OpDef kOp_ConstantOfShape = {
    .name = "ConstantOfShape",
    .inputs = {{"input", kInt64s}},
    .attributes = {attr::Tensor("value")},
    .infer = InferConstantOfShape,
    .contents = ConstantOfShapeContents,
    .shape_inputs = {0},
};
constexpr OpDef kOp_Range = {
    .name = "Range",
    .inputs = {{"start", kSigned, 'T'}, {"limit", kSigned, 'T'}, {"delta", kSigned, 'T'}},
    .attributes = {attr::Int("stash_type", 1)},
    .infer = InferRange,
    .contents = RangeContents,
    .shape_inputs = {0, 1, 2},
};
constexpr OpDef kOp_EyeLike = {
    .name = "EyeLike",
    .inputs = {{"input", kNumbers | kBools}},
    .attributes = {attr::Int("dtype"), attr::Int("k", 0)},
    .infer = InferEyeLike,
};
constexpr OpDef kOp_RandomNormal = {
    .name = "RandomNormal",
    .attributes = {attr::Int("dtype", 1), attr::Float("mean", 0.0f), attr::Float("scale", 1.0f), attr::Float("seed"),
                   attr::Required(attr::Ints("shape"))},
    .infer = InferRandom,
    .flags = kRandom,
};
constexpr OpDef kOp_RandomUniform = {
    .name = "RandomUniform",
    .attributes = {attr::Int("dtype", 1), attr::Float("high", 1.0f), attr::Float("low", 0.0f), attr::Float("seed"),
                   attr::Required(attr::Ints("shape"))},
    .infer = InferRandom,
    .flags = kRandom,
};
constexpr OpDef kOp_RandomNormalLike = {
    .name = "RandomNormalLike",
    .inputs = {{"input", kClassic}},
    .attributes = {attr::Int("dtype"), attr::Float("mean", 0.0f), attr::Float("scale", 1.0f), attr::Float("seed")},
    .infer = InferRandomLike,
    .flags = kRandom,
};
constexpr OpDef kOp_RandomUniformLike = {
    .name = "RandomUniformLike",
    .inputs = {{"input", kClassic}},
    .attributes = {attr::Int("dtype"), attr::Float("high", 1.0f), attr::Float("low", 0.0f), attr::Float("seed")},
    .infer = InferRandomLike,
    .flags = kRandom,
};
constexpr OpDef kOp_Bernoulli = {
    .name = "Bernoulli",
    .inputs = {{"input", kFloats}},
    .attributes = {attr::Int("dtype"), attr::Float("seed")},
    .infer = InferBernoulli,
    .expand = ExpandBernoulli,
    .flags = kRandom,
};
constexpr OpDef kOp_Dropout = {
    .name = "Dropout",
    .inputs = {{"data", kFloats | kFloat8s},
               {"ratio", kFloats | kFloat8s, 0, Param::kOptional},
               {"training_mode", kBools, 0, Param::kOptional}},
    .max_outputs = 2,
    .attributes = {attr::Int("seed")},
    .infer = InferDropout,
    .expand = ExpandDropout,
    .flags = kRandom,
};
constexpr OpDef kOp_Multinomial = {
    .name = "Multinomial",
    .inputs = {{"input", kFloats}},
    .attributes = {attr::Int("dtype", 6), attr::Int("sample_size", 1), attr::Float("seed")},
    .infer = InferMultinomial,
    .flags = kRandom,
};
constexpr OpDef kOp_BlackmanWindow = {
    .name = "BlackmanWindow",
    .inputs = {{"size", kIndices}},
    .attributes = {attr::Int("output_datatype", 1), attr::Int("periodic", 1)},
    .infer = InferWindow,
    .expand = ExpandBlackmanWindow,
    .shape_inputs = {0},
};
constexpr OpDef kOp_HannWindow = {
    .name = "HannWindow",
    .inputs = {{"size", kIndices}},
    .attributes = {attr::Int("output_datatype", 1), attr::Int("periodic", 1)},
    .infer = InferWindow,
    .expand = ExpandHannWindow,
    .shape_inputs = {0},
};
constexpr OpDef kOp_HammingWindow = {
    .name = "HammingWindow",
    .inputs = {{"size", kIndices}},
    .attributes = {attr::Int("output_datatype", 1), attr::Int("periodic", 1)},
    .infer = InferWindow,
    .expand = ExpandHammingWindow,
    .shape_inputs = {0},
};

}  // namespace ziggurat
