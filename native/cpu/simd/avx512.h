// AVX-512 F/BW/DQ/VL: 16 lanes, masks in k-registers. Included by cpu/simd.h only.
#pragma once

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

constexpr int kLanes = 16;
constexpr bool kHasFma = true;
using F32 = __m512;
typedef int32_t I32 __attribute__((vector_size(64)));
typedef uint32_t U32 __attribute__((vector_size(64)));
using Mask = __mmask16;

ZIGGURAT_INLINE F32 Set(float a) { return _mm512_set1_ps(a); }
ZIGGURAT_INLINE I32 SetI32(int32_t a) { return (I32)_mm512_set1_epi32(a); }
// 0, 1, 2, ...
ZIGGURAT_INLINE I32 Iota() { return I32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }

ZIGGURAT_INLINE I32 BitCastI32(F32 a) { return (I32)a; }
ZIGGURAT_INLINE F32 BitCastF32(I32 a) { return (F32)a; }

ZIGGURAT_INLINE Mask FirstN(int n) { return static_cast<Mask>((1u << n) - 1u); }
ZIGGURAT_INLINE F32 Load(const float* p) { return _mm512_loadu_ps(p); }
ZIGGURAT_INLINE F32 LoadAligned(const float* p) { return _mm512_load_ps(p); }
ZIGGURAT_INLINE F32 LoadN(const float* p, int n) { return _mm512_maskz_loadu_ps(FirstN(n), p); }
ZIGGURAT_INLINE void Store(F32 a, float* p) { _mm512_storeu_ps(p, a); }
ZIGGURAT_INLINE void StoreAligned(F32 a, float* p) { _mm512_store_ps(p, a); }
ZIGGURAT_INLINE void StoreN(F32 a, float* p, int n) { _mm512_mask_storeu_ps(p, FirstN(n), a); }
ZIGGURAT_INLINE I32 Load(const int32_t* p) { return (I32)_mm512_loadu_si512(p); }
ZIGGURAT_INLINE I32 LoadN(const int32_t* p, int n) { return (I32)_mm512_maskz_loadu_epi32(FirstN(n), p); }
ZIGGURAT_INLINE void Store(I32 a, int32_t* p) { _mm512_storeu_si512(p, (__m512i)a); }
ZIGGURAT_INLINE void StoreN(I32 a, int32_t* p, int n) { _mm512_mask_storeu_epi32(p, FirstN(n), (__m512i)a); }

// 16-bit elements, zero-extended to lanes; stores keep the low 16 bits.
ZIGGURAT_INLINE I32 LoadU16(const uint16_t* p) {
  return (I32)_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(p)));
}
ZIGGURAT_INLINE I32 LoadU16N(const uint16_t* p, int n) {
  return (I32)_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(FirstN(n), p));
}
ZIGGURAT_INLINE void StoreU16(I32 a, uint16_t* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(p), _mm512_cvtepi32_epi16((__m512i)a));
}
ZIGGURAT_INLINE void StoreU16N(I32 a, uint16_t* p, int n) {
  _mm256_mask_storeu_epi16(p, FirstN(n), _mm512_cvtepi32_epi16((__m512i)a));
}

ZIGGURAT_INLINE F32 LoadF16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(p)));
}
ZIGGURAT_INLINE F32 LoadF16N(const uint16_t* p, int n) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(FirstN(n), p));
}
ZIGGURAT_INLINE void StoreF16(F32 a, uint16_t* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(p), _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}
ZIGGURAT_INLINE void StoreF16N(F32 a, uint16_t* p, int n) {
  _mm256_mask_storeu_epi16(p, FirstN(n), _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}

// a * b + c, and c - a * b.
ZIGGURAT_INLINE F32 MulAdd(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
ZIGGURAT_INLINE F32 NegMulAdd(F32 a, F32 b, F32 c) { return _mm512_fnmadd_ps(a, b, c); }
ZIGGURAT_INLINE F32 Min(F32 a, F32 b) { return _mm512_min_ps(a, b); }
ZIGGURAT_INLINE F32 Max(F32 a, F32 b) { return _mm512_max_ps(a, b); }
ZIGGURAT_INLINE I32 MinI32(I32 a, I32 b) { return (I32)_mm512_min_epi32((__m512i)a, (__m512i)b); }
ZIGGURAT_INLINE I32 MaxI32(I32 a, I32 b) { return (I32)_mm512_max_epi32((__m512i)a, (__m512i)b); }
ZIGGURAT_INLINE F32 Sqrt(F32 a) { return _mm512_sqrt_ps(a); }
ZIGGURAT_INLINE F32 RoundEven(F32 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
ZIGGURAT_INLINE F32 Floor(F32 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
ZIGGURAT_INLINE F32 Ceil(F32 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
ZIGGURAT_INLINE F32 Trunc(F32 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }

ZIGGURAT_INLINE Mask Eq(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
ZIGGURAT_INLINE Mask Ne(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ); }
ZIGGURAT_INLINE Mask Lt(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
ZIGGURAT_INLINE Mask Le(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
ZIGGURAT_INLINE Mask Gt(F32 a, F32 b) { return Lt(b, a); }
ZIGGURAT_INLINE Mask Ge(F32 a, F32 b) { return Le(b, a); }
ZIGGURAT_INLINE Mask EqI32(I32 a, I32 b) { return _mm512_cmpeq_epi32_mask((__m512i)a, (__m512i)b); }
ZIGGURAT_INLINE Mask GtI32(I32 a, I32 b) { return _mm512_cmpgt_epi32_mask((__m512i)a, (__m512i)b); }
ZIGGURAT_INLINE Mask And(Mask a, Mask b) { return static_cast<Mask>(a & b); }
ZIGGURAT_INLINE Mask Or(Mask a, Mask b) { return static_cast<Mask>(a | b); }
ZIGGURAT_INLINE Mask Not(Mask a) { return static_cast<Mask>(~a); }
ZIGGURAT_INLINE bool AnyTrue(Mask a) { return a != 0; }
ZIGGURAT_INLINE bool AllTrue(Mask a) { return a == 0xffff; }
// mask ? yes : no, lane by lane.
ZIGGURAT_INLINE F32 Select(Mask mask, F32 yes, F32 no) { return _mm512_mask_blend_ps(mask, no, yes); }
ZIGGURAT_INLINE I32 SelectI32(Mask mask, I32 yes, I32 no) {
  return (I32)_mm512_mask_blend_epi32(mask, (__m512i)no, (__m512i)yes);
}

ZIGGURAT_INLINE I32 AddWrap(I32 a, I32 b) { return (I32)((U32)a + (U32)b); }
template <int bits>
ZIGGURAT_INLINE I32 ShiftLeft(I32 a) {
  return (I32)((U32)a << bits);
}
template <int bits>
ZIGGURAT_INLINE I32 ShiftRightLogical(I32 a) {
  return (I32)((U32)a >> bits);
}

ZIGGURAT_INLINE F32 ToF32(I32 a) { return _mm512_cvtepi32_ps((__m512i)a); }
// Rounded to nearest even, or towards zero; what does not fit, and NaN, gives INT32_MIN.
ZIGGURAT_INLINE I32 ToI32Round(F32 a) { return (I32)_mm512_cvtps_epi32(a); }
ZIGGURAT_INLINE I32 ToI32Trunc(F32 a) { return (I32)_mm512_cvttps_epi32(a); }
ZIGGURAT_INLINE F32 Gather(const float* base, I32 index) { return _mm512_i32gather_ps((__m512i)index, base, 4); }

// The one lane tree: the upper half is folded onto the lower until one lane is left.
ZIGGURAT_INLINE __m256 UpperHalf(F32 a) { return _mm512_extractf32x8_ps(a, 1); }
ZIGGURAT_INLINE __m256 LowerHalf(F32 a) { return _mm512_castps512_ps256(a); }
ZIGGURAT_INLINE float SumLanes(F32 a) {
  const __m256 h8 = _mm256_add_ps(LowerHalf(a), UpperHalf(a));
  const __m128 h4 = _mm_add_ps(_mm256_castps256_ps128(h8), _mm256_extractf128_ps(h8, 1));
  const __m128 h2 = _mm_add_ps(h4, _mm_movehl_ps(h4, h4));
  return _mm_cvtss_f32(_mm_add_ss(h2, _mm_movehdup_ps(h2)));
}
// Min and Max of the lanes, NaN-propagating.
ZIGGURAT_INLINE float MaxLanes(F32 a) {
  if (AnyTrue(Ne(a, a))) return __builtin_nanf("");
  return _mm512_reduce_max_ps(a);
}
ZIGGURAT_INLINE float MinLanes(F32 a) {
  if (AnyTrue(Ne(a, a))) return __builtin_nanf("");
  return _mm512_reduce_min_ps(a);
}

}  // namespace
}  // namespace ziggurat::cpu::ZIGGURAT_ISA
