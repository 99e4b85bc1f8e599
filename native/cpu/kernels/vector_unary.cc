// float32 unary kernels: one functor an operation, one loop for all.
#include "cpu/kernels/vector_elementwise.h"
#include "cpu/kernels/vector_math.h"
#include "cpu/kernels/vector_parts.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

struct Context {
  F32 alpha, beta;
};

// One lane-wise function of x; `p` holds the operation's parameters, already in registers.
#define ZIGGURAT_UNARY(name, expression)                                                    \
  struct name##Op {                                                                         \
    ZIGGURAT_INLINE F32 Do(F32 x, [[maybe_unused]] const Context& p) { return expression; } \
  };

ZIGGURAT_INLINE F32 One() { return Set(1.0f); }
ZIGGURAT_INLINE F32 Silu(F32 x) { return Select(Eq(x, Set(-INFINITY)), Set(-0.0f), x * Sigmoid(x)); }
ZIGGURAT_INLINE F32 NegativePart(F32 x) { return Expm1(Min(x, Zero())); }
ZIGGURAT_INLINE F32 Mish(F32 x) {
  // tanh(log(1 + e^x)) = w / (w + 2) with w = e^x (e^x + 2); from x = 20 on it is 1, and w would overflow at 44.
  const F32 e = Exp(Min(x, Set(20.0f)));
  const F32 w = e * (e + Set(2.0f));
  return Select(Eq(x, Set(-INFINITY)), Set(-0.0f), x * (w / (w + Set(2.0f))));
}
ZIGGURAT_INLINE F32 Sign(F32 x) {
  const F32 unit = CopySign(One(), x);
  return Select(Or(IsNan(x), Eq(x, Zero())), x, unit);
}
ZIGGURAT_INLINE F32 Shrink(F32 x, const Context& p) {
  const F32 upper = Select(Gt(x, p.alpha), x - p.beta, Zero());
  return Select(IsNan(x), x, Select(Lt(x, Neg(p.alpha)), x + p.beta, upper));
}

ZIGGURAT_UNARY(Abs, Abs(x))
ZIGGURAT_UNARY(Neg, Neg(x))
ZIGGURAT_UNARY(Sign, Sign(x))
ZIGGURAT_UNARY(Floor, Floor(x))
ZIGGURAT_UNARY(Ceil, Ceil(x))
ZIGGURAT_UNARY(Round, RoundEven(x))
ZIGGURAT_UNARY(Sqrt, Sqrt(x))
ZIGGURAT_UNARY(Rsqrt, One() / Sqrt(x))
ZIGGURAT_UNARY(Reciprocal, One() / x)
ZIGGURAT_UNARY(Square, x* x)
ZIGGURAT_UNARY(Exp, Exp(x))
ZIGGURAT_UNARY(Log, Log(x))
ZIGGURAT_UNARY(Erf, Erf(x))
ZIGGURAT_UNARY(Tanh, Tanh(x))
ZIGGURAT_UNARY(Sigmoid, Sigmoid(x))
ZIGGURAT_UNARY(Gelu, Gelu(x))
ZIGGURAT_UNARY(GeluTanh, GeluTanh(x))
ZIGGURAT_UNARY(Silu, Silu(x))
ZIGGURAT_UNARY(Swish, x* Sigmoid(p.alpha* x))
ZIGGURAT_UNARY(HardSigmoid, Clamp(p.alpha* x + p.beta, Zero(), One()))
ZIGGURAT_UNARY(HardSwish, x* Clamp(x* Set(1.0f / 6.0f) + Set(0.5f), Zero(), One()))
ZIGGURAT_UNARY(Relu, Max(Zero(), x))
ZIGGURAT_UNARY(LeakyRelu, Select(Lt(x, Zero()), p.alpha* x, x))
ZIGGURAT_UNARY(ThresholdedRelu, Select(Le(x, p.alpha), Zero(), x))
ZIGGURAT_UNARY(Elu, Select(Lt(x, Zero()), p.alpha* NegativePart(x), x))
ZIGGURAT_UNARY(Selu, p.beta* Select(Le(x, Zero()), p.alpha* NegativePart(x), x))
ZIGGURAT_UNARY(Celu, Select(Lt(x, Zero()), p.alpha* NegativePart(x / p.alpha), x))
ZIGGURAT_UNARY(Softplus, Softplus(x))
ZIGGURAT_UNARY(Softsign, x / (One() + Abs(x)))
ZIGGURAT_UNARY(Mish, Mish(x))
ZIGGURAT_UNARY(Clip, Clamp(x, p.alpha, p.beta))
ZIGGURAT_UNARY(Shrink, Shrink(x, p))
ZIGGURAT_UNARY(Affine, MulAdd(x, p.alpha, p.beta))
ZIGGURAT_UNARY(Sin, Sin(x))
ZIGGURAT_UNARY(Cos, Cos(x))
ZIGGURAT_UNARY(Tan, PerLane<::tan>(x))
ZIGGURAT_UNARY(Asin, PerLane<::asin>(x))
ZIGGURAT_UNARY(Acos, PerLane<::acos>(x))
ZIGGURAT_UNARY(Atan, PerLane<::atan>(x))
ZIGGURAT_UNARY(Sinh, PerLane<::sinh>(x))
ZIGGURAT_UNARY(Cosh, PerLane<::cosh>(x))
ZIGGURAT_UNARY(Asinh, PerLane<::asinh>(x))
ZIGGURAT_UNARY(Acosh, PerLane<::acosh>(x))
ZIGGURAT_UNARY(Atanh, PerLane<::atanh>(x))

template <typename Op>
void Unary(const void* x_bytes, void* y_bytes, int64_t n, const ElementParams& params) {
  const float* x = static_cast<const float*>(x_bytes);
  float* y = static_cast<float*>(y_bytes);
  const Context context{Set(params.alpha), Set(params.beta)};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(Op::Do(Load(x + i), context), y + i);
  if (i < n) StoreN(Op::Do(LoadN(x + i, static_cast<int>(n - i)), context), y + i, static_cast<int>(n - i));
}

void IsNanRun(const void* x, void* y, int64_t n, const ElementParams&) {
  const float* in = static_cast<const float*>(x);
  bool* out = static_cast<bool*>(y);
  for (int64_t i = 0; i < n; ++i) out[i] = in[i] != in[i];
}

void IsInfRun(const void* x, void* y, int64_t n, const ElementParams& params) {
  const float* in = static_cast<const float*>(x);
  bool* out = static_cast<bool*>(y);
  const bool positive = params.alpha != 0, negative = params.beta != 0;
  for (int64_t i = 0; i < n; ++i) out[i] = (positive & (in[i] == INFINITY)) | (negative & (in[i] == -INFINITY));
}

}  // namespace

UnaryFn FindUnary(UnaryOp op) {
  switch (op) {
#define X(name)          \
  case UnaryOp::k##name: \
    return &Unary<name##Op>;
    ZIGGURAT_UNARY_OPS(X)
#undef X
  }
  return nullptr;
}

UnaryFn FindClassify(ClassifyOp op) { return op == ClassifyOp::kIsNan ? &IsNanRun : &IsInfRun; }

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
