// QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear: per tensor, per axis or in blocks.
#include <algorithm>
#include <cmath>

#include "device/reference/plain.h"
#include "device/reference/walk.h"

namespace ziggurat::plain {
namespace {

// For every element of x, the position of its scale.
std::vector<int64_t> ScalePositions(const Args& args, const Shape& x, const Shape& scale) {
  if (scale.Count() == 1) return AllOffsets(x, Strides{});
  const int axis = Axis(args.Int("axis", 1), x.rank());
  const int64_t block = args.Int("block_size", 0);
  Strides strides{};
  if (block == 0) {
    if (scale.rank() != 1 || scale[0] != x[axis])
      throw Error(Code::kInvalidArgument, "a scale of shape ", scale, " for axis ", axis, " of shape ", x);
    strides[axis] = 1;
    return AllOffsets(x, strides);
  }
  if (block < 0 || scale.rank() != x.rank())
    throw Error(Code::kInvalidArgument, "block_size ", block, " with a scale of ", scale);
  for (int i = 0; i < x.rank(); ++i)
    if (scale[i] != (i == axis ? (x[i] + block - 1) / block : x[i]))
      throw Error(Code::kInvalidArgument, "a scale of shape ", scale, " does not cover shape ", x, " in blocks of ",
                  block);
  strides = ContiguousStrides(scale);
  std::vector<int64_t> positions(static_cast<size_t>(x.Count()));
  Walk walk(x, Strides{});
  for (int64_t& position : positions) {
    for (int i = 0; i < x.rank(); ++i) position += strides[i] * (i == axis ? walk.index()[i] / block : walk.index()[i]);
    walk.Advance();
  }
  return positions;
}

// `value` as the nearest element of a floating type.
double RoundTo(DType dtype, double value) {
  if (dtype == DType::kFloat64) return value;
  if (dtype == DType::kFloat32) return static_cast<float>(value);
  alignas(8) std::byte cell[8];
  const TensorView probe{cell, dtype, Shape{}};
  StoreOne<double>(probe, 0, value);
  return LoadOne<double>(probe);
}

// The type the division is done in: `precision`, else the scale's, where it is one that can hold quotients.
DType QuotientType(const Args& args) {
  const DType chosen = static_cast<DType>(args.Int("precision", 0));
  if (chosen != DType::kUndefined) return chosen;
  for (int i : {1, 0})
    if (IsFloat(args.In(i).dtype) && args.In(i).dtype != DType::kFloat8E8M0) return args.In(i).dtype;
  return DType::kFloat32;
}

struct Limits {
  double low, high;
};
Limits LimitsOf(DType dtype) {
  switch (dtype) {
    case DType::kInt16:
      return {-32768, 32767};
    case DType::kUint16:
      return {0, 65535};
    case DType::kInt8:
      return {-128, 127};
    case DType::kUint8:
      return {0, 255};
    case DType::kInt4:
      return {-8, 7};
    case DType::kUint4:
      return {0, 15};
    case DType::kInt2:
      return {-2, 1};
    case DType::kUint2:
      return {0, 3};
    case DType::kFloat8E4M3FN:
      return {-448, 448};
    case DType::kFloat8E4M3FNUZ:
      return {-240, 240};
    case DType::kFloat8E5M2:
    case DType::kFloat8E5M2FNUZ:
      return {-57344, 57344};
    default:
      return {-INFINITY, INFINITY};  // float4 and float6 saturate by themselves
  }
}

void QuantizeLinear(const Args& args) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  const std::vector<int64_t> at = ScalePositions(args, in.shape, args.In(1).shape);
  const std::vector<double> scale = LoadAll<double>(args.In(1));
  const std::vector<double> zero = args.Has(2) ? LoadAll<double>(args.In(2)) : std::vector<double>(scale.size());
  if (zero.size() != scale.size()) throw Error(Code::kInvalidArgument, "zero point and scale differ in shape");
  const DType quotient = QuotientType(args);
  const bool whole = IsInteger(out.dtype), saturate = whole || args.Int("saturate", 1) != 0;
  const Limits limits = LimitsOf(out.dtype);
  std::vector<double> x = LoadAll<double>(in);
  for (size_t i = 0; i < x.size(); ++i) {
    double y = RoundTo(quotient, RoundTo(quotient, x[i]) / RoundTo(quotient, scale[at[i]]));
    y = (whole ? std::nearbyint(y) : y) + zero[at[i]];
    if (std::isnan(y))
      x[i] = whole ? 0 : y;
    else
      x[i] = saturate ? std::clamp(y, limits.low, limits.high) : y;
  }
  StoreAll<double>(out, x);
}

void DequantizeLinear(const Args& args) {
  const TensorView& in = args.In(0);
  const std::vector<int64_t> at = ScalePositions(args, in.shape, args.In(1).shape);
  const std::vector<double> scale = LoadAll<double>(args.In(1));
  const std::vector<double> zero = args.Has(2) ? LoadAll<double>(args.In(2)) : std::vector<double>(scale.size());
  if (zero.size() != scale.size()) throw Error(Code::kInvalidArgument, "zero point and scale differ in shape");
  std::vector<double> x = LoadAll<double>(in);
  for (size_t i = 0; i < x.size(); ++i) x[i] = (x[i] - zero[at[i]]) * scale[at[i]];
  StoreAll<double>(args.Out(0), x);
}

// To uint8, with the range [min(x, 0), max(x, 0)]; in float, step by step as the op is defined.
void DynamicQuantizeLinear(const Args& args) {
  const std::vector<double> x = LoadAll<double>(args.In(0));
  float low = 0, high = 0;
  for (double value : x)
    low = std::min(low, static_cast<float>(value)), high = std::max(high, static_cast<float>(value));
  const float scale = high == low ? 1.0f : (high - low) / 255.0f;
  const float zero = std::nearbyint(std::clamp(-low / scale, 0.0f, 255.0f));
  std::vector<double> y(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const float whole = std::nearbyint(static_cast<float>(x[i]) / scale) + zero;
    y[i] = std::isnan(whole) ? 0 : std::clamp(whole, 0.0f, 255.0f);
  }
  StoreAll<double>(args.Out(0), y);
  StoreOne<double>(args.Out(1), 0, scale);
  StoreOne<double>(args.Out(2), 0, zero);
}

constexpr PlainOp kOps[] = {
    {"QuantizeLinear", QuantizeLinear},
    {"DequantizeLinear", DequantizeLinear},
    {"DynamicQuantizeLinear", DynamicQuantizeLinear},
};

}  // namespace

std::span<const PlainOp> QuantizeOps() { return kOps; }

}  // namespace ziggurat::plain
