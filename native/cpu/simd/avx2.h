// AVX2 with FMA and F16C: 8 lanes, masks are vectors of all-ones and zeros. Included by cpu/simd.h only.
#pragma once

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

constexpr int kLanes = 8;
constexpr bool kHasFma = true;
using F32 = __m256;
typedef int32_t I32 __attribute__((vector_size(32)));
typedef uint32_t U32 __attribute__((vector_size(32)));
struct Mask {
  I32 bits;
};

ZIGGURAT_INLINE F32 Set(float a) { return _mm256_set1_ps(a); }
ZIGGURAT_INLINE I32 SetI32(int32_t a) { return (I32)_mm256_set1_epi32(a); }
// 0, 1, 2, ...
ZIGGURAT_INLINE I32 Iota() { return I32{0, 1, 2, 3, 4, 5, 6, 7}; }

ZIGGURAT_INLINE I32 BitCastI32(F32 a) { return (I32)a; }
ZIGGURAT_INLINE F32 BitCastF32(I32 a) { return (F32)a; }

ZIGGURAT_INLINE Mask FirstN(int n) { return {(I32)_mm256_cmpgt_epi32(_mm256_set1_epi32(n), (__m256i)Iota())}; }
ZIGGURAT_INLINE F32 Load(const float* p) { return _mm256_loadu_ps(p); }
ZIGGURAT_INLINE F32 LoadAligned(const float* p) { return _mm256_load_ps(p); }
ZIGGURAT_INLINE F32 LoadN(const float* p, int n) { return _mm256_maskload_ps(p, (__m256i)FirstN(n).bits); }
ZIGGURAT_INLINE void Store(F32 a, float* p) { _mm256_storeu_ps(p, a); }
ZIGGURAT_INLINE void StoreAligned(F32 a, float* p) { _mm256_store_ps(p, a); }
ZIGGURAT_INLINE void StoreN(F32 a, float* p, int n) { _mm256_maskstore_ps(p, (__m256i)FirstN(n).bits, a); }
ZIGGURAT_INLINE I32 Load(const int32_t* p) { return (I32)_mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(p)); }
ZIGGURAT_INLINE I32 LoadN(const int32_t* p, int n) { return (I32)_mm256_maskload_epi32(p, (__m256i)FirstN(n).bits); }
ZIGGURAT_INLINE void Store(I32 a, int32_t* p) { _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(p), (__m256i)a); }
ZIGGURAT_INLINE void StoreN(I32 a, int32_t* p, int n) {
  _mm256_maskstore_epi32(p, (__m256i)FirstN(n).bits, (__m256i)a);
}

// 16-bit elements of a tail pass through a register-sized buffer: there is no masked 16-bit load.
ZIGGURAT_INLINE __m128i Load16BitN(const uint16_t* p, int n) {
  alignas(16) uint16_t buffer[kLanes] = {};
  for (int i = 0; i < n; ++i) buffer[i] = p[i];
  return _mm_load_si128(reinterpret_cast<const __m128i*>(buffer));
}
ZIGGURAT_INLINE void Store16BitN(__m128i a, uint16_t* p, int n) {
  alignas(16) uint16_t buffer[kLanes];
  _mm_store_si128(reinterpret_cast<__m128i*>(buffer), a);
  for (int i = 0; i < n; ++i) p[i] = buffer[i];
}
ZIGGURAT_INLINE __m128i Narrow16(I32 a) {
  // Keeping the low halves first makes the saturating pack exact.
  const __m256i low = _mm256_and_si256((__m256i)a, _mm256_set1_epi32(0xffff));
  return _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
}
// 16-bit elements, zero-extended to lanes; stores keep the low 16 bits.
ZIGGURAT_INLINE I32 LoadU16(const uint16_t* p) {
  return (I32)_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(p)));
}
ZIGGURAT_INLINE I32 LoadU16N(const uint16_t* p, int n) { return (I32)_mm256_cvtepu16_epi32(Load16BitN(p, n)); }
ZIGGURAT_INLINE void StoreU16(I32 a, uint16_t* p) { _mm_storeu_si128(reinterpret_cast<__m128i_u*>(p), Narrow16(a)); }
ZIGGURAT_INLINE void StoreU16N(I32 a, uint16_t* p, int n) { Store16BitN(Narrow16(a), p, n); }

ZIGGURAT_INLINE F32 LoadF16(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(p)));
}
ZIGGURAT_INLINE F32 LoadF16N(const uint16_t* p, int n) { return _mm256_cvtph_ps(Load16BitN(p, n)); }
ZIGGURAT_INLINE void StoreF16(F32 a, uint16_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i_u*>(p), _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}
ZIGGURAT_INLINE void StoreF16N(F32 a, uint16_t* p, int n) {
  Store16BitN(_mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT), p, n);
}

// a * b + c, and c - a * b.
ZIGGURAT_INLINE F32 MulAdd(F32 a, F32 b, F32 c) { return _mm256_fmadd_ps(a, b, c); }
ZIGGURAT_INLINE F32 NegMulAdd(F32 a, F32 b, F32 c) { return _mm256_fnmadd_ps(a, b, c); }
ZIGGURAT_INLINE F32 Min(F32 a, F32 b) { return _mm256_min_ps(a, b); }
ZIGGURAT_INLINE F32 Max(F32 a, F32 b) { return _mm256_max_ps(a, b); }
ZIGGURAT_INLINE I32 MinI32(I32 a, I32 b) { return (I32)_mm256_min_epi32((__m256i)a, (__m256i)b); }
ZIGGURAT_INLINE I32 MaxI32(I32 a, I32 b) { return (I32)_mm256_max_epi32((__m256i)a, (__m256i)b); }
ZIGGURAT_INLINE F32 Sqrt(F32 a) { return _mm256_sqrt_ps(a); }
ZIGGURAT_INLINE F32 RoundEven(F32 a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
ZIGGURAT_INLINE F32 Floor(F32 a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
ZIGGURAT_INLINE F32 Ceil(F32 a) { return _mm256_round_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
ZIGGURAT_INLINE F32 Trunc(F32 a) { return _mm256_round_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }

ZIGGURAT_INLINE Mask Eq(F32 a, F32 b) { return {(I32)_mm256_cmp_ps(a, b, _CMP_EQ_OQ)}; }
ZIGGURAT_INLINE Mask Ne(F32 a, F32 b) { return {(I32)_mm256_cmp_ps(a, b, _CMP_NEQ_UQ)}; }
ZIGGURAT_INLINE Mask Lt(F32 a, F32 b) { return {(I32)_mm256_cmp_ps(a, b, _CMP_LT_OQ)}; }
ZIGGURAT_INLINE Mask Le(F32 a, F32 b) { return {(I32)_mm256_cmp_ps(a, b, _CMP_LE_OQ)}; }
ZIGGURAT_INLINE Mask Gt(F32 a, F32 b) { return Lt(b, a); }
ZIGGURAT_INLINE Mask Ge(F32 a, F32 b) { return Le(b, a); }
ZIGGURAT_INLINE Mask EqI32(I32 a, I32 b) { return {a == b}; }
ZIGGURAT_INLINE Mask GtI32(I32 a, I32 b) { return {a > b}; }
ZIGGURAT_INLINE Mask And(Mask a, Mask b) { return {a.bits & b.bits}; }
ZIGGURAT_INLINE Mask Or(Mask a, Mask b) { return {a.bits | b.bits}; }
ZIGGURAT_INLINE Mask Not(Mask a) { return {~a.bits}; }
ZIGGURAT_INLINE bool AnyTrue(Mask a) { return _mm256_movemask_ps((F32)a.bits) != 0; }
ZIGGURAT_INLINE bool AllTrue(Mask a) { return _mm256_movemask_ps((F32)a.bits) == 0xff; }
// mask ? yes : no, lane by lane.
ZIGGURAT_INLINE F32 Select(Mask mask, F32 yes, F32 no) { return _mm256_blendv_ps(no, yes, (F32)mask.bits); }
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

ZIGGURAT_INLINE F32 ToF32(I32 a) { return _mm256_cvtepi32_ps((__m256i)a); }
// Rounded to nearest even, or towards zero; what does not fit, and NaN, gives INT32_MIN.
ZIGGURAT_INLINE I32 ToI32Round(F32 a) { return (I32)_mm256_cvtps_epi32(a); }
ZIGGURAT_INLINE I32 ToI32Trunc(F32 a) { return (I32)_mm256_cvttps_epi32(a); }
ZIGGURAT_INLINE F32 Gather(const float* base, I32 index) { return _mm256_i32gather_ps(base, (__m256i)index, 4); }

// The one lane tree: the upper half is folded onto the lower until one lane is left.
ZIGGURAT_INLINE float SumLanes(F32 a) {
  const __m128 h4 = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 h2 = _mm_add_ps(h4, _mm_movehl_ps(h4, h4));
  return _mm_cvtss_f32(_mm_add_ss(h2, _mm_movehdup_ps(h2)));
}
// Min and Max of the lanes, NaN-propagating.
ZIGGURAT_INLINE float MaxLanes(F32 a) {
  if (AnyTrue(Ne(a, a))) return __builtin_nanf("");
  const __m128 h4 = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 h2 = _mm_max_ps(h4, _mm_movehl_ps(h4, h4));
  return _mm_cvtss_f32(_mm_max_ss(h2, _mm_movehdup_ps(h2)));
}
ZIGGURAT_INLINE float MinLanes(F32 a) {
  if (AnyTrue(Ne(a, a))) return __builtin_nanf("");
  const __m128 h4 = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 h2 = _mm_min_ps(h4, _mm_movehl_ps(h4, h4));
  return _mm_cvtss_f32(_mm_min_ss(h2, _mm_movehdup_ps(h2)));
}

}  // namespace
}  // namespace ziggurat::cpu::ZIGGURAT_ISA
