// Between numbers and quantised numbers.
#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

void CheckGranularity(InferContext& c) {
  if (!c.HasRank(0) || !c.HasRank(1)) return;
  const auto &x = c.InputShape(0), &scale = c.InputShape(1);
  const int64_t block = c.node().Int("block_size");
  if (block < 0) c.Fail("block_size is ", block);
  if (scale.empty() || (scale.size() == 1 && scale[0].IsConst(1)) || x.empty()) return;
  const int axis = c.Axis(c.node().Int("axis"), static_cast<int>(x.size()) > 1 ? static_cast<int>(x.size()) : 2);
  if (block == 0) {
    if (scale.size() != 1) c.Fail("the scale has rank ", scale.size(), ", expected 0 or 1 without block_size");
    if (x.size() > 1) c.Same(x[axis], scale[0], "the axis's dimension and the number of scales");
  } else if (scale.size() != x.size()) {
    c.Fail("the scale has rank ", scale.size(), ", expected the input's ", x.size());
  }
}

void InferQuantizeLinear(InferContext& c) {
  CheckGranularity(c);
  DType dtype = c.HasInput(2) ? c.InputDType(2) : DType::kUint8;
  if (c.node().Int("output_dtype")) {
    const DType wanted = DTypeAttribute(c, "output_dtype", dtype, kTiny);
    if (c.HasInput(2) && wanted != dtype) c.Fail("output_dtype is ", Name(wanted), ", the zero point ", Name(dtype));
    dtype = wanted;
  }
  c.SetOutput(0, Type::Tensor(dtype, c.InputType(0).shape));
}

void InferDequantizeLinear(InferContext& c) {
  CheckGranularity(c);
  DType dtype = c.InputDType(1);
  if (c.node().Int("output_dtype")) dtype = DTypeAttribute(c, "output_dtype", dtype, kFloats32);
  c.SetOutput(0, Type::Tensor(dtype, c.InputType(0).shape));
}

// A scale or zero point, shaped so that it broadcasts against the input.
Value* Aligned(Expander& e, Value* value) {
  const int rank = e.Rank(e.In(0)), have = e.Rank(value);
  const int64_t block = e.node().Int("block_size");
  int axis = static_cast<int>(e.node().Int("axis"));
  if (axis < 0) axis += rank;
  if (have == 0) return value;
  if (block == 0) {
    if (rank == 0) return e.Reshape(value, {});
    if (rank == 1 || (*value->type.shape)[0].IsConst(1)) return value;
    std::vector<int64_t> shape(rank, 1);
    shape[axis] = -1;
    return e.Reshape(value, std::move(shape));
  }
  // Each scale `block` times along the axis, then what the axis is too short for is cut off.
  Value *before = axis ? e.ShapeOf(value, 0, axis) : nullptr, *after = e.ShapeOf(value, axis + 1, rank);
  Value *count = e.ShapeOf(value, axis, axis + 1), *times = e.Ints({block});
  auto shape = [&](std::vector<Value*> middle) {
    if (before) middle.insert(middle.begin(), before);
    if (axis + 1 < rank) middle.push_back(after);
    return e.Join(std::move(middle));
  };
  Value* repeated = e.Op("Expand", {e.Op("Unsqueeze", {value, e.Ints({axis + 1})}), shape({count, times})});
  Value* flat = e.Op("Reshape", {repeated, shape({e.Op("Mul", {count, times})})});
  return e.Op("Slice", {flat, e.Ints({0}), e.ShapeOf(e.In(0), axis, axis + 1), e.Ints({axis})});
}

// The type x / scale is computed in.
DType DivisionType(const Expander& e) {
  const DType x = e.In(0)->type.dtype, scale = e.In(1)->type.dtype;
  if (const int64_t precision = e.node().Int("precision")) return static_cast<DType>(precision);
  if (x == DType::kInt32) return DType::kFloat64;  // float32 would lose its last bits
  return x == scale ? x : DType::kFloat32;
}

std::optional<std::pair<double, double>> IntegerRange(DType dtype) {
  switch (dtype) {
    case DType::kUint8:
      return {{0, 255}};
    case DType::kInt8:
      return {{-128, 127}};
    case DType::kUint16:
      return {{0, 65535}};
    case DType::kInt16:
      return {{-32768, 32767}};
    case DType::kUint4:
      return {{0, 15}};
    case DType::kInt4:
      return {{-8, 7}};
    case DType::kUint2:
      return {{0, 3}};
    case DType::kInt2:
      return {{-2, 1}};
    default:
      return std::nullopt;
  }
}

void ExpandQuantizeLinear(Expander& e) {
  const DType dtype = e.node().Output(0)->type.dtype, division = DivisionType(e);
  Value* scale = Aligned(e, e.Cast(e.In(1), division));
  Value* y = e.Op("Div", {e.Cast(e.In(0), division), scale});
  if (division != DType::kFloat64) y = e.Cast(y, DType::kFloat32);
  const auto range = IntegerRange(dtype);
  if (range) y = e.Op("Round", {y});  // half to even
  const bool eight_bit_float = Contains(kFloat8s, dtype);
  if (e.HasIn(2) && !eight_bit_float) y = e.Op("Add", {y, Aligned(e, e.Cast(e.In(2), y->type.dtype))});
  if (range) {
    y = e.Op("Min", {e.Op("Max", {y, e.ScalarLike(y, range->first)}), e.ScalarLike(y, range->second)});
    return e.Return(0, y);
  }
  Attributes attributes = {{"to", static_cast<int64_t>(dtype)}};
  if (eight_bit_float) attributes["saturate"] = e.node().Int("saturate");
  e.Return(0, e.Op("Cast", {y}, std::move(attributes)));
}

void ExpandDequantizeLinear(Expander& e) {
  Value* x = e.Cast(e.In(0), DType::kFloat32);
  // Zero points of the 8-bit floats are zero by definition.
  if (e.HasIn(2) && !Contains(kFloat8s, e.In(0)->type.dtype))
    x = e.Op("Sub", {x, Aligned(e, e.Cast(e.In(2), DType::kFloat32))});
  e.Return(0, e.Op("Mul", {x, Aligned(e, e.Cast(e.In(1), DType::kFloat32))}));
}

void InferDynamicQuantizeLinear(InferContext& c) {
  c.SetOutput(0, Type::Tensor(DType::kUint8, c.InputType(0).shape));
  c.SetOutput(1, DType::kFloat32, {});
  c.SetOutput(2, DType::kUint8, {});
}

void ExpandDynamicQuantizeLinear(Expander& e) {
  const Attributes drop = {{"keepdims", int64_t{0}}};
  Value *x = e.In(0), *zero = e.ScalarLike(x, 0), *most = e.ScalarLike(x, 255);
  Value* low = e.Op("Min", {e.Op("ReduceMin", {x}, drop), zero});
  Value* high = e.Op("Max", {e.Op("ReduceMax", {x}, drop), zero});
  Value* scale = e.Op("Div", {e.Op("Sub", {high, low}), most});
  // Where all are zero the scale would be too; any scale serves.
  scale = e.Op("Where", {e.Op("Equal", {scale, zero}), e.ScalarLike(x, 1), scale});
  Value* point = e.Op("Round", {e.Op("Div", {e.Op("Sub", {zero, low}), scale})});
  point = e.Cast(e.Op("Min", {e.Op("Max", {point, zero}), most}), DType::kUint8);
  e.Return(0, e.Op("QuantizeLinear", {x, scale, point}));
  e.Return(1, scale);
  e.Return(2, point);
}

}  // namespace

constexpr OpDef kOp_QuantizeLinear = {
    .name = "QuantizeLinear",
    .inputs = {{"x", kFloats32 | kInt32s},
               {"y_scale", kFloats32 | kInt32s | SetOf({DType::kFloat8E8M0})},
               {"y_zero_point", kTiny, 0, Param::kOptional}},
    .attributes = {attr::Int("axis", 1), attr::Int("block_size", 0), attr::Int("output_dtype", 0),
                   attr::Int("precision", 0), attr::Int("saturate", 1)},
    .infer = InferQuantizeLinear,
    .expand = ExpandQuantizeLinear,
};
constexpr OpDef kOp_DequantizeLinear = {
    .name = "DequantizeLinear",
    .inputs = {{"x", kTiny | kInt32s, '1'},
               {"x_scale", kFloats32 | SetOf({DType::kFloat8E8M0})},
               {"x_zero_point", kTiny | kInt32s, '1', Param::kOptional}},
    .attributes = {attr::Int("axis", 1), attr::Int("block_size", 0), attr::Int("output_dtype", 0)},
    .infer = InferDequantizeLinear,
    .expand = ExpandDequantizeLinear,
};
constexpr OpDef kOp_DynamicQuantizeLinear = {
    .name = "DynamicQuantizeLinear",
    .inputs = {{"x", kFloat32s}},
    .min_outputs = 3,
    .max_outputs = 3,
    .infer = InferDynamicQuantizeLinear,
    .expand = ExpandDynamicQuantizeLinear,
};

}  // namespace ziggurat
