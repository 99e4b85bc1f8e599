// Elementary functions on whole registers: minimax polynomials over a reduced range. Include it from kernel units only.
//
// Every function is a pure function of its lane, so a value's bits depend neither on its place in the register nor on
// what its neighbours hold. NaN in gives NaN out; infinities and denormals are honoured. Largest error met against
// float64, in units in the last place (tests/native/cpu/vector_math_test.cc holds each of these on every float32
// exponent and a dense random sample, on every instruction set):
//   Exp 1.5   Expm1 2.5   Log 1.5   Log1p 3   Tanh 2.5   Erf 2   Sigmoid 3   Sin, Cos 3 (|x| <= 8192; float64 above)
#pragma once

#include <math.h>

#include "cpu/simd.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// c0 + x (c1 + x (c2 + ...)).
template <typename... Rest>
ZIGGURAT_INLINE F32 Polynomial(F32 x, float c0, Rest... rest) {
  if constexpr (sizeof...(rest) == 0)
    return Set(c0);
  else
    return MulAdd(Polynomial(x, rest...), x, Set(c0));
}

// a * 2^n for integral n in [-252, 254]: two exact factors, so that a denormal result is rounded once.
ZIGGURAT_INLINE F32 ScaleByPowerOf2(F32 a, F32 n) {
#if defined(__AVX512F__)
  return _mm512_scalef_ps(a, n);
#else
  const I32 whole = ToI32Round(n);
  const I32 half = whole >> 1;
  const F32 first = BitCastF32(ShiftLeft<23>(AddWrap(half, SetI32(127))));
  const F32 second = BitCastF32(ShiftLeft<23>(AddWrap(whole - half, SetI32(127))));
  return a * first * second;
#endif
}

// e^x = 2^n e^r with |r| <= ln2 / 2. ln 2 is split so that n * kLn2High is exact without FMA (|n| < 2^9).
constexpr float kLog2E = 0x1.715476p+0f;
constexpr float kLn2High = 0x1.62e400p-1f;
constexpr float kLn2Low = 0x1.7f7d1cp-20f;

// (e^r - 1 - r) / r^2, minimax over 1.01 * [-ln2/2, ln2/2]; relative error of e^r - 1: 2^-26.
ZIGGURAT_INLINE F32 ExpQuotient(F32 r) {
  return Polynomial(r, 0x1p-1f, 0x1.5554a8p-3f, 0x1.55547ep-5f, 0x1.122d72p-7f, 0x1.6da090p-10f);
}

ZIGGURAT_INLINE F32 Exp(F32 x) {
  // Below -104 the result rounds to 0, above 88.73 to infinity: the bounds only keep n in range.
  const F32 bounded = Clamp(x, Set(-105.0f), Set(89.0f));
  const F32 n = RoundEven(bounded * Set(kLog2E));
  const F32 r = NegMulAdd(n, Set(kLn2Low), NegMulAdd(n, Set(kLn2High), bounded));
  const F32 power = Set(1.0f) + MulAdd(r * r, ExpQuotient(r), r);
  return ScaleByPowerOf2(power, n);
}

// e^x - 1 without cancellation near 0, for x <= 88.
ZIGGURAT_INLINE F32 Expm1(F32 x) {
  const F32 bounded = Clamp(x, Set(-20.0f), Set(89.0f));
  const F32 n = RoundEven(bounded * Set(kLog2E));
  const F32 r = NegMulAdd(n, Set(kLn2Low), NegMulAdd(n, Set(kLn2High), bounded));
  const F32 less1 = MulAdd(r * r, ExpQuotient(r), r);
  // (less1 + 1) 2^n - 1 = less1 2^n + (2^n - 1). 2^128 does not exist: half of it, twice.
  const F32 half_scale = ScaleByPowerOf2(Set(0.5f), n);
  const F32 y = MulAdd(less1, half_scale, half_scale - Set(0.5f)) * Set(2.0f);
  return Select(Eq(x, Zero()), x, y);
}

// log(1 + f) for f in [sqrt(1/2) - 1, sqrt(2) - 1]: f - f^2/2 + f^3 p(f), plus `low` before the leading term.
ZIGGURAT_INLINE F32 LogOfMantissa(F32 f, F32 exponent) {
  const F32 square = f * f;
  const F32 p = Polynomial(f, 0x1.555546p-2f, -0x1.ffffeep-3f, 0x1.99a55ap-3f, -0x1.5562fep-3f, 0x1.233108p-3f,
                           -0x1.fb3d68p-4f, 0x1.e66666p-4f, -0x1.e31686p-4f, 0x1.1b4580p-4f);
  F32 tail = p * square * f;
  tail = MulAdd(exponent, Set(kLn2Low), tail);
  tail = NegMulAdd(square, Set(0.5f), tail);
  return MulAdd(exponent, Set(kLn2High), f + tail);
}

// Splits positive normal x into m in [sqrt(1/2), sqrt(2)) and the exponent: x = m 2^exponent.
ZIGGURAT_INLINE F32 SplitMantissa(F32 x, F32& exponent) {
  const I32 bits = BitCastI32(x);
  // Less sqrt(1/2): mantissas from there on move the exponent up by one. Bits of what is negative wrap.
  const I32 offset = AddWrap(bits, SetI32(-0x3f3504f3));
  const I32 whole = offset >> 23;
  exponent = ToF32(whole);
  return BitCastF32(AddWrap(bits, ShiftLeft<23>(-whole)));
}

ZIGGURAT_INLINE F32 Log(F32 x) {
  const Mask denormal = Lt(x, Set(0x1p-126f));
  const F32 normal = Select(denormal, x * Set(0x1p25f), x);
  F32 exponent;
  const F32 m = SplitMantissa(normal, exponent);
  exponent = exponent - Select(denormal, Set(25.0f), Zero());
  F32 y = LogOfMantissa(m - Set(1.0f), exponent);
  y = Select(Eq(x, Set(INFINITY)), x, y);
  y = Select(Lt(x, Zero()), Set(NAN), y);
  y = Select(Eq(x, Zero()), Set(-INFINITY), y);
  return Select(IsNan(x), x, y);
}

// log(1 + x) for x >= 0: the rounding error of 1 + x is given back to first order.
ZIGGURAT_INLINE F32 Log1pOfPositive(F32 x) {
  const F32 u = Set(1.0f) + x;
  const F32 lost = x - (u - Set(1.0f));
  const F32 y = Log(u) + lost / u;
  return Select(Lt(x, Set(0x1p-24f)), x, Select(Eq(x, Set(INFINITY)), x, y));
}

// tanh x = t / (t + 2), t = e^2x - 1; from |x| = 10 on it is 1 in float32.
ZIGGURAT_INLINE F32 Tanh(F32 x) {
  const F32 magnitude = Abs(x);
  const F32 t = Expm1(Min(Set(20.0f), magnitude + magnitude));
  return CopySign(t / (t + Set(2.0f)), x);
}

// 1 / (1 + e^-x), written on e^-|x| so that both ends keep their relative accuracy.
ZIGGURAT_INLINE F32 Sigmoid(F32 x) {
  const F32 e = Exp(Neg(Abs(x)));
  const F32 upper = Set(1.0f) / (Set(1.0f) + e);
  // A NaN comes back as it is: of two different ones a product keeps either, as the compiler orders its operands.
  return Select(IsNan(x), x, Select(Lt(x, Zero()), e * upper, upper));
}

// |x| < 0.92: x + x p(x^2). Above: 1 - e^-g(|x|), g = -log erfc, which is 1 in float32 from 4 on.
ZIGGURAT_INLINE F32 Erf(F32 x) {
  const F32 magnitude = Abs(x);
  const F32 square = x * x;
  const F32 p = Polynomial(square, 0x1.06eba6p-3f, -0x1.8126eep-2f, 0x1.ce1be0p-4f, -0x1.b69ee8p-6f, 0x1.47a768p-8f,
                           -0x1.3bb75cp-11f);
  const F32 small = MulAdd(x, p, x);
  const F32 bounded = Min(Set(4.0f), magnitude);
  const F32 g = Polynomial(bounded, 0x1.7d7f8cp-13f, 0x1.20b316p+0f, 0x1.46301ep-1f, 0x1.aa0d2cp-4f, -0x1.6cd68ep-6f,
                           0x1.903bc0p-9f, -0x1.9d1f5ap-13f);
  const F32 n = RoundEven(g * Set(-kLog2E));
  const F32 r = NegMulAdd(n, Set(kLn2Low), NegMulAdd(n, Set(kLn2High), Neg(g)));
  const F32 power = Set(1.0f) + MulAdd(r * r, ExpQuotient(r), r);
  // g <= 18, so 2^n is normal.
  const F32 scale = BitCastF32(ShiftLeft<23>(AddWrap(ToI32Round(n), SetI32(127))));
  const F32 large = CopySign(NegMulAdd(power, scale, Set(1.0f)), x);
  return Select(Lt(magnitude, Set(0.92f)), small, Select(IsNan(x), x, large));
}

// x Phi(x), Phi the normal distribution.
ZIGGURAT_INLINE F32 Gelu(F32 x) {
  const F32 half = Set(0.5f) * x;
  return Select(Eq(x, Set(-INFINITY)), Set(-0.0f), MulAdd(half, Erf(x * Set(0x1.6a09e6p-1f)), half));
}

// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
ZIGGURAT_INLINE F32 GeluTanh(F32 x) {
  const F32 half = Set(0.5f) * x;
  const F32 inner = Set(0.79788456f) * MulAdd(Set(0.044715f) * x * x, x, x);
  return Select(Eq(x, Set(-INFINITY)), Set(-0.0f), MulAdd(half, Tanh(inner), half));
}

// log(1 + e^x) = max(x, 0) + log1p(e^-|x|). A NaN comes back as it is, see Sigmoid.
ZIGGURAT_INLINE F32 Softplus(F32 x) { return Select(IsNan(x), x, Max(Zero(), x) + Log1pOfPositive(Exp(Neg(Abs(x))))); }

// Applies a float64 function lane by lane: for arguments and functions too rare to deserve a polynomial. Rounding
// from float64 hides which version of the C library answered.
template <double (*function)(double)>
ZIGGURAT_INLINE F32 PerLane(F32 x) {
  alignas(64) float lanes[kLanes];
  StoreAligned(x, lanes);
  for (int i = 0; i < kLanes; ++i) lanes[i] = static_cast<float>(function(lanes[i]));
  return LoadAligned(lanes);
}

// sin (quadrant 0) or cos (quadrant 1) of x: x = n pi/2 + r, |r| <= pi/4; n chooses polynomial and sign. pi/2 is cut
// in three parts of 11, 11 and 24 bits, so that n times the first two is exact for n < 2^13.
template <int quadrant, double (*exact)(double)>
ZIGGURAT_INLINE F32 SinOrCos(F32 x) {
  const F32 n = RoundEven(x * Set(0x1.45f306p-1f));
  F32 r = NegMulAdd(n, Set(0x1.920p+0f), x);
  r = NegMulAdd(n, Set(0x1.fb4p-12f), r);
  r = NegMulAdd(n, Set(0x1.4442d2p-24f), r);
  const F32 square = r * r;
  const F32 sine = MulAdd(square * r, Polynomial(square, -0x1.555544p-3f, 0x1.1106fcp-7f, -0x1.992c06p-13f), r);
  const F32 cosine = MulAdd(square * square, Polynomial(square, 0x1.55554ap-5f, -0x1.6c0c22p-10f, 0x1.99e33ap-16f),
                            NegMulAdd(square, Set(0.5f), Set(1.0f)));
  const I32 turn = AddWrap(ToI32Round(n), SetI32(quadrant));
  const F32 chosen = Select(EqI32(turn & SetI32(1), SetI32(1)), cosine, sine);
  const F32 y = BitCastF32(BitCastI32(chosen) ^ ShiftLeft<30>(turn & SetI32(2)));
  const Mask far = Not(Le(Abs(x), Set(8192.0f)));
  return AnyTrue(far) ? Select(far, PerLane<exact>(x), y) : y;
}

ZIGGURAT_INLINE F32 Sin(F32 x) { return Select(Eq(x, Zero()), x, SinOrCos<0, ::sin>(x)); }
ZIGGURAT_INLINE F32 Cos(F32 x) { return SinOrCos<1, ::cos>(x); }

}  // namespace
}  // namespace ziggurat::cpu::ZIGGURAT_ISA
