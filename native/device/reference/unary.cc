// Element-wise ops of one input.
#include <cmath>
#include <limits>
#include <numbers>

#include "device/reference/plain.h"
#include "device/reference/walk.h"

namespace ziggurat::plain {
namespace {

template <typename C>
void Map(const Args& args, FunctionRef<C(C)> fn) {
  const TensorView& out = args.Out(0);
  ZIGGURAT_CHECK(args.In(0).Count() == out.Count());
  C values[kRun];
  ForRuns(out.Count(), [&](int64_t first, int64_t count) {
    Load<C>(args.In(0), first, count, values);
    for (int64_t i = 0; i < count; ++i) values[i] = fn(values[i]);
    Store<C>(out, first, count, values);
  });
}

template <double (*kFunction)(double)>
void Math(const Args& args) {
  Map<double>(args, [](double x) { return kFunction(x); });
}

// For ops that are defined on integers too; `fn` is a generic lambda.
template <typename Fn>
void MapReal(const Args& args, Fn fn) {
  WithRealType(args.In(0).dtype, [&](auto zero) { Map<decltype(zero)>(args, fn); });
}

double Sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }
double Softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }
double Softsign(double x) { return x / (1 + std::abs(x)); }
double Mish(double x) { return x * std::tanh(Softplus(x)); }
double Reciprocal(double x) { return 1 / x; }
double HardSwish(double x) { return x * std::max(0.0, std::min(1.0, x / 6 + 0.5)); }
// To nearest, ties to even, whatever the rounding mode of the caller.
double RoundEven(double x) {
  const double down = std::floor(x), rest = x - down;
  if (!(rest == 0.5)) return rest > 0.5 ? std::copysign(down + 1, x) : std::copysign(down, x);
  return std::copysign(std::fmod(down, 2) == 0 ? down : down + 1, x);
}

void Abs(const Args& args) {
  MapReal(args,
          [](auto x) -> decltype(x) { return x < decltype(x){} ? WrapSub(decltype(x){}, x) : x + decltype(x){}; });
}
void Neg(const Args& args) {
  MapReal(args, [](auto x) -> decltype(x) {
    if constexpr (std::is_same_v<decltype(x), double>)
      return -x;
    else
      return WrapSub(decltype(x){}, x);
  });
}
void Sign(const Args& args) {
  MapReal(args, [](auto x) -> decltype(x) {
    const decltype(x) zero{};
    if (IsNan(x)) return x;
    return static_cast<decltype(x)>(x > zero) - static_cast<decltype(x)>(x < zero);
  });
}
void Relu(const Args& args) {
  MapReal(args, [](auto x) -> decltype(x) { return x < decltype(x){} ? decltype(x){} : x; });
}
void Not(const Args& args) {
  Map<uint64_t>(args, [](uint64_t x) -> uint64_t { return !x; });
}
void BitwiseNot(const Args& args) {
  Map<uint64_t>(args, [](uint64_t x) { return ~x; });
}
void IsNaN(const Args& args) {
  Map<double>(args, [](double x) { return double(std::isnan(x)); });
}
void IsInf(const Args& args) {
  const bool negative = args.Int("detect_negative", 1), positive = args.Int("detect_positive", 1);
  Map<double>(args, [=](double x) { return double(std::isinf(x) && (x < 0 ? negative : positive)); });
}

// ---- activations with attributes ----

void Elu(const Args& args) {
  const double alpha = args.Float("alpha", 1);
  Map<double>(args, [=](double x) { return x < 0 ? alpha * std::expm1(x) : x; });
}
void Celu(const Args& args) {
  const double alpha = args.Float("alpha", 1);
  Map<double>(args, [=](double x) { return x < 0 ? alpha * std::expm1(x / alpha) : x; });
}
void Selu(const Args& args) {
  const double alpha = args.Float("alpha", 1.67326319217681884765625f);
  const double gamma = args.Float("gamma", 1.05070102214813232421875f);
  Map<double>(args, [=](double x) { return gamma * (x <= 0 ? alpha * std::expm1(x) : x); });
}
void LeakyRelu(const Args& args) {
  const double alpha = args.Float("alpha", 0.01f);
  Map<double>(args, [=](double x) { return x < 0 ? alpha * x : x; });
}
void ThresholdedRelu(const Args& args) {
  const double alpha = args.Float("alpha", 1);
  Map<double>(args, [=](double x) { return x > alpha ? x : 0; });
}
void HardSigmoid(const Args& args) {
  const double alpha = args.Float("alpha", 0.2f), beta = args.Float("beta", 0.5f);
  Map<double>(args, [=](double x) { return std::max(0.0, std::min(1.0, alpha * x + beta)); });
}
void Swish(const Args& args) {
  const double alpha = args.Float("alpha", 1);
  Map<double>(args, [=](double x) { return x * Sigmoid(alpha * x); });
}
void Shrink(const Args& args) {
  const double bias = args.Float("bias", 0), lambda = args.Float("lambd", 0.5f);
  Map<double>(args, [=](double x) { return x < -lambda ? x + bias : x > lambda ? x - bias : 0; });
}
void Gelu(const Args& args) {
  if (args.String("approximate", "none") == "tanh") {
    const double scale = std::sqrt(2 / std::numbers::pi);
    return Map<double>(args, [=](double x) { return x / 2 * (1 + std::tanh(scale * (x + 0.044715 * x * x * x))); });
  }
  Map<double>(args, [](double x) { return x / 2 * std::erfc(-x / std::numbers::sqrt2); });
}

constexpr PlainOp kOps[] = {
    {"Abs", Abs},
    {"Acos", Math<std::acos>},
    {"Acosh", Math<std::acosh>},
    {"Asin", Math<std::asin>},
    {"Asinh", Math<std::asinh>},
    {"Atan", Math<std::atan>},
    {"Atanh", Math<std::atanh>},
    {"BitwiseNot", BitwiseNot},
    {"Ceil", Math<std::ceil>},
    {"Celu", Celu},
    {"Cos", Math<std::cos>},
    {"Cosh", Math<std::cosh>},
    {"Elu", Elu},
    {"Erf", Math<std::erf>},
    {"Exp", Math<std::exp>},
    {"Floor", Math<std::floor>},
    {"Gelu", Gelu},
    {"HardSigmoid", HardSigmoid},
    {"HardSwish", Math<HardSwish>},
    {"IsInf", IsInf},
    {"IsNaN", IsNaN},
    {"LeakyRelu", LeakyRelu},
    {"Log", Math<std::log>},
    {"Mish", Math<Mish>},
    {"Neg", Neg},
    {"Not", Not},
    {"Reciprocal", Math<Reciprocal>},
    {"Relu", Relu},
    {"Round", Math<RoundEven>},
    {"Selu", Selu},
    {"Shrink", Shrink},
    {"Sigmoid", Math<Sigmoid>},
    {"Sign", Sign},
    {"Sin", Math<std::sin>},
    {"Sinh", Math<std::sinh>},
    {"Softplus", Math<Softplus>},
    {"Softsign", Math<Softsign>},
    {"Sqrt", Math<std::sqrt>},
    {"Swish", Swish},
    {"Tan", Math<std::tan>},
    {"Tanh", Math<std::tanh>},
    {"ThresholdedRelu", ThresholdedRelu},
};

}  // namespace

std::span<const PlainOp> UnaryOps() { return kOps; }

}  // namespace ziggurat::plain
