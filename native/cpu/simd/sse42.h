// SSE4.2: 4 lanes, no FMA, no F16C. Included by cpu/simd.h only.
#pragma once

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

constexpr int kLanes = 4;
constexpr bool kHasFma = false;
using F32 = __m128;
typedef int32_t I32 __attribute__((vector_size(16)));
typedef uint32_t U32 __attribute__((vector_size(16)));
struct Mask {
  I32 bits;
};

ZIGGURAT_INLINE F32 Set(float a) { return _mm_set1_ps(a); }
ZIGGURAT_INLINE I32 SetI32(int32_t a) { return (I32)_mm_set1_epi32(a); }
// 0, 1, 2, ...
ZIGGURAT_INLINE I32 Iota() { return I32{0, 1, 2, 3}; }

ZIGGURAT_INLINE I32 BitCastI32(F32 a) { return (I32)a; }
ZIGGURAT_INLINE F32 BitCastF32(I32 a) { return (F32)a; }

ZIGGURAT_INLINE Mask FirstN(int n) { return {SetI32(n) > Iota()}; }
ZIGGURAT_INLINE F32 Load(const float* p) { return _mm_loadu_ps(p); }
ZIGGURAT_INLINE F32 LoadAligned(const float* p) { return _mm_load_ps(p); }
ZIGGURAT_INLINE F32 LoadN(const float* p, int n) {
  alignas(16) float buffer[kLanes] = {};
  for (int i = 0; i < n; ++i) buffer[i] = p[i];
  return _mm_load_ps(buffer);
}
ZIGGURAT_INLINE void Store(F32 a, float* p) { _mm_storeu_ps(p, a); }
ZIGGURAT_INLINE void StoreAligned(F32 a, float* p) { _mm_store_ps(p, a); }
ZIGGURAT_INLINE void StoreN(F32 a, float* p, int n) {
  alignas(16) float buffer[kLanes];
  _mm_store_ps(buffer, a);
  for (int i = 0; i < n; ++i) p[i] = buffer[i];
}
ZIGGURAT_INLINE I32 Load(const int32_t* p) { return (I32)_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(p)); }
ZIGGURAT_INLINE I32 LoadN(const int32_t* p, int n) {
  alignas(16) int32_t buffer[kLanes] = {};
  for (int i = 0; i < n; ++i) buffer[i] = p[i];
  return (I32)_mm_load_si128(reinterpret_cast<const __m128i*>(buffer));
}
ZIGGURAT_INLINE void Store(I32 a, int32_t* p) { _mm_storeu_si128(reinterpret_cast<__m128i_u*>(p), (__m128i)a); }
ZIGGURAT_INLINE void StoreN(I32 a, int32_t* p, int n) {
  for (int i = 0; i < n; ++i) p[i] = a[i];
}

// 16-bit elements, zero-extended to lanes; stores keep the low 16 bits.
ZIGGURAT_INLINE I32 LoadU16(const uint16_t* p) { return I32{p[0], p[1], p[2], p[3]}; }
ZIGGURAT_INLINE I32 LoadU16N(const uint16_t* p, int n) {
  alignas(16) int32_t buffer[kLanes] = {};
  for (int i = 0; i < n; ++i) buffer[i] = p[i];
  return (I32)_mm_load_si128(reinterpret_cast<const __m128i*>(buffer));
}
ZIGGURAT_INLINE void StoreU16N(I32 a, uint16_t* p, int n) {
  for (int i = 0; i < n; ++i) p[i] = static_cast<uint16_t>(a[i]);
}
ZIGGURAT_INLINE void StoreU16(I32 a, uint16_t* p) { StoreU16N(a, p, kLanes); }

// a * b + c, and c - a * b: two roundings here.
ZIGGURAT_INLINE F32 MulAdd(F32 a, F32 b, F32 c) { return a * b + c; }
ZIGGURAT_INLINE F32 NegMulAdd(F32 a, F32 b, F32 c) { return c - a * b; }
ZIGGURAT_INLINE F32 Min(F32 a, F32 b) { return _mm_min_ps(a, b); }
ZIGGURAT_INLINE F32 Max(F32 a, F32 b) { return _mm_max_ps(a, b); }
ZIGGURAT_INLINE I32 MinI32(I32 a, I32 b) { return (I32)_mm_min_epi32((__m128i)a, (__m128i)b); }
ZIGGURAT_INLINE I32 MaxI32(I32 a, I32 b) { return (I32)_mm_max_epi32((__m128i)a, (__m128i)b); }
ZIGGURAT_INLINE F32 Sqrt(F32 a) { return _mm_sqrt_ps(a); }
ZIGGURAT_INLINE F32 RoundEven(F32 a) { return _mm_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
ZIGGURAT_INLINE F32 Floor(F32 a) { return _mm_round_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
ZIGGURAT_INLINE F32 Ceil(F32 a) { return _mm_round_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
ZIGGURAT_INLINE F32 Trunc(F32 a) { return _mm_round_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }

ZIGGURAT_INLINE Mask Eq(F32 a, F32 b) { return {(I32)_mm_cmpeq_ps(a, b)}; }
ZIGGURAT_INLINE Mask Ne(F32 a, F32 b) { return {(I32)_mm_cmpneq_ps(a, b)}; }
ZIGGURAT_INLINE Mask Lt(F32 a, F32 b) { return {(I32)_mm_cmplt_ps(a, b)}; }
ZIGGURAT_INLINE Mask Le(F32 a, F32 b) { return {(I32)_mm_cmple_ps(a, b)}; }
ZIGGURAT_INLINE Mask Gt(F32 a, F32 b) { return Lt(b, a); }
ZIGGURAT_INLINE Mask Ge(F32 a, F32 b) { return Le(b, a); }
ZIGGURAT_INLINE Mask EqI32(I32 a, I32 b) { return {a == b}; }
ZIGGURAT_INLINE Mask GtI32(I32 a, I32 b) { return {a > b}; }
ZIGGURAT_INLINE Mask And(Mask a, Mask b) { return {a.bits & b.bits}; }
ZIGGURAT_INLINE Mask Or(Mask a, Mask b) { return {a.bits | b.bits}; }
ZIGGURAT_INLINE Mask Not(Mask a) { return {~a.bits}; }
ZIGGURAT_INLINE bool AnyTrue(Mask a) { return _mm_movemask_ps((F32)a.bits) != 0; }
ZIGGURAT_INLINE bool AllTrue(Mask a) { return _mm_movemask_ps((F32)a.bits) == 0xf; }
// mask ? yes : no, lane by lane.
ZIGGURAT_INLINE F32 Select(Mask mask, F32 yes, F32 no) { return _mm_blendv_ps(no, yes, (F32)mask.bits); }
ZIGGURAT_INLINE I32 SelectI32(Mask mask, I32 yes, I32 no) { return (I32)Select(mask, (F32)yes, (F32)no); }

ZIGGURAT_INLINE I32 AddWrap(I32 a, I32 b) { return (I32)((U32)a + (U32)b); }
template <int bits>
ZIGGURAT_INLINE I32 ShiftLeft(I32 a) {
  return (I32)((U32)a << bits);
}
template <int bits>
ZIGGURAT_INLINE I32 ShiftRightLogical(I32 a) {
  return (I32)((U32)a >> bits);
}

ZIGGURAT_INLINE F32 ToF32(I32 a) { return _mm_cvtepi32_ps((__m128i)a); }
// Rounded to nearest even, or towards zero; what does not fit, and NaN, gives INT32_MIN.
ZIGGURAT_INLINE I32 ToI32Round(F32 a) { return (I32)_mm_cvtps_epi32(a); }
ZIGGURAT_INLINE I32 ToI32Trunc(F32 a) { return (I32)_mm_cvttps_epi32(a); }
ZIGGURAT_INLINE F32 Gather(const float* base, I32 index) {
  return F32{base[index[0]], base[index[1]], base[index[2]], base[index[3]]};
}

// float16 by bit arithmetic. Load: a normal or subnormal half is its bits moved up and scaled by 2^112 (the
// difference of the exponent biases, 127 - 15), exact in float32; infinity and NaN keep an all-ones exponent.
ZIGGURAT_INLINE F32 F16BitsToF32(I32 half) {
  const I32 magnitude = ShiftLeft<13>(half & SetI32(0x7fff));
  const F32 finite = BitCastF32(magnitude) * Set(0x1p112f);
  const F32 special = BitCastF32(magnitude | SetI32(0x7f800000));
  const Mask is_special = GtI32(magnitude, SetI32((0x7bff << 13) | 0x1fff));
  // A NaN is made quiet, as the conversion instruction does.
  const I32 quiet = SelectI32(GtI32(magnitude, SetI32(0x7c00 << 13)), SetI32(0x400000), SetI32(0));
  const I32 bits = SelectI32(is_special, BitCastI32(special) | quiet, BitCastI32(finite));
  return BitCastF32(bits | ShiftLeft<16>(half & SetI32(0x8000)));
}
// Store: rounds to nearest even. Results below 2^-14 are rounded by adding 0.5, whose unit in the last place is the
// half's subnormal unit 2^-24; others by adding to the bits dropped; from 65520 on it is infinity.
ZIGGURAT_INLINE I32 F32ToF16Bits(F32 a) {
  const I32 sign = ShiftRightLogical<16>(BitCastI32(a)) & SetI32(0x8000);
  const I32 bits = BitCastI32(a) & SetI32(0x7fffffff);
  const F32 magnitude = BitCastF32(bits);
  const I32 subnormal = BitCastI32(magnitude + Set(0.5f)) - BitCastI32(Set(0.5f));
  const I32 even = ShiftRightLogical<13>(bits) & SetI32(1);
  const I32 normal = ShiftRightLogical<13>(AddWrap(AddWrap(bits, even), SetI32(0xfff - (112 << 23))));
  I32 half = SelectI32(Lt(magnitude, Set(0x1p-14f)), subnormal, normal);
  half = SelectI32(Ge(magnitude, Set(65520.0f)), SetI32(0x7c00), half);
  const I32 nan = SetI32(0x7e00) | (ShiftRightLogical<13>(bits) & SetI32(0x3ff));
  return SelectI32(Ne(a, a), nan, half) | sign;
}
ZIGGURAT_INLINE F32 LoadF16(const uint16_t* p) { return F16BitsToF32(LoadU16(p)); }
ZIGGURAT_INLINE F32 LoadF16N(const uint16_t* p, int n) { return F16BitsToF32(LoadU16N(p, n)); }
ZIGGURAT_INLINE void StoreF16(F32 a, uint16_t* p) { StoreU16(F32ToF16Bits(a), p); }
ZIGGURAT_INLINE void StoreF16N(F32 a, uint16_t* p, int n) { StoreU16N(F32ToF16Bits(a), p, n); }

// The one lane tree: the upper half is folded onto the lower until one lane is left.
ZIGGURAT_INLINE float SumLanes(F32 a) {
  const __m128 h2 = _mm_add_ps(a, _mm_movehl_ps(a, a));
  return _mm_cvtss_f32(_mm_add_ss(h2, _mm_movehdup_ps(h2)));
}
// Min and Max of the lanes, NaN-propagating.
ZIGGURAT_INLINE float MaxLanes(F32 a) {
  if (AnyTrue(Ne(a, a))) return __builtin_nanf("");
  const __m128 h2 = _mm_max_ps(a, _mm_movehl_ps(a, a));
  return _mm_cvtss_f32(_mm_max_ss(h2, _mm_movehdup_ps(h2)));
}
ZIGGURAT_INLINE float MinLanes(F32 a) {
  if (AnyTrue(Ne(a, a))) return __builtin_nanf("");
  const __m128 h2 = _mm_min_ps(a, _mm_movehl_ps(a, a));
  return _mm_cvtss_f32(_mm_min_ss(h2, _mm_movehdup_ps(h2)));
}

}  // namespace
}  // namespace ziggurat::cpu::ZIGGURAT_ISA
