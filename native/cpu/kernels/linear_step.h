// The integer arithmetic of the linear kernels, per instruction set: products of unsigned codes with signed bytes,
// four of each a 32-bit lane.
//
// With VNNI a sum is an int32 a lane. Elsewhere it is two int16 a lane, of bytes 0, 1 and of bytes 2, 3:
// - one vpmaddubsw gives at most 2 * 63 * 127 = 16002: it does not saturate for codes of up to 6 bits;
// - adding wraps around, so only the last value has to fit. A sum begins from -z times the sums of q that its halves
//   will see; its last value is the sum of (c - z) q over the positions of a half lane, which for
//     4 bits, z = 8, 16 positions is at most 16 *  8 * 127 = 16256
//     4 bits, z = 0, 16 positions              16 * 15 * 127 = 30480
//     5 bits, z = 16, 16 positions             16 * 16 * 127 = 32512
//     5 bits, z = 0, 8 positions (two sums)     8 * 31 * 127 = 31496
//     6 bits, z = 32, 8 positions (two sums)    8 * 32 * 127 = 32512, all below 32768.
// Codes of 8 bits (signed) are multiplied by magnitude: |c| <= 128 unsigned times q with the sign of c, at most
// 2 * 128 * 127 = 32512 a pair, and every pair is widened to int32 at once.
#pragma once

#include "cpu/kernels/linear.h"
#include "cpu/simd.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

constexpr int kVectors = static_cast<int>(kStripRows) / kLanes;  // registers for one value of each row of a strip

#if defined(ZIGGURAT_ISA_avx512vnni)
constexpr bool kInt32Sums = true;
#else
constexpr bool kInt32Sums = false;
#endif

// Tokens of one tile. AVX-512: 8 sums of int32, 8 of float32, codes and q; AVX2: 4 x 2 sums of int16 and codes, q and a
// product are 12 of its 16 registers, the float32 sums wait in the first-level cache; SSE has four registers a strip.
constexpr int kMaxTokens = kLanes == 16 ? 8 : kLanes == 8 ? 4 : 2;
// From so many tokens on, a strip's groups are unpacked once for all of them instead of once a tile: at 4 tokens a
// tile unpacking is a sixth (4 bits) to two fifths (5 and 6 bits) of the tile's instructions, and a panel costs one
// pass more. Tokens are cut evenly, so that a panel's tiles have at least so many: 4 tiles of 3 kMaxTokens + 1.
constexpr int kPanelTokens = 3 * kMaxTokens;
constexpr int kLeastPanelTile = (kPanelTokens + 1) / 4;

// Into the second-level cache, which has room for what is on its way from memory; the first level is filled from there.
ZIGGURAT_INLINE void PrefetchFar(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }
ZIGGURAT_INLINE I32 LoadCodes(const uint8_t* p) { return Load(reinterpret_cast<const int32_t*>(p)); }
ZIGGURAT_INLINE void StoreCodes(I32 a, uint8_t* p) { Store(a, reinterpret_cast<int32_t*>(p)); }
// Four bytes of q in every lane.
ZIGGURAT_INLINE I32 FourBytes(const int8_t* q) {
  int32_t word;
  __builtin_memcpy(&word, q, 4);
  return SetI32(word);
}

#if defined(ZIGGURAT_ISA_avx512) || defined(ZIGGURAT_ISA_avx512vnni)
ZIGGURAT_INLINE I32 MulBytes(I32 codes, I32 q) { return (I32)_mm512_maddubs_epi16((__m512i)codes, (__m512i)q); }
ZIGGURAT_INLINE I32 Add16(I32 a, I32 b) { return (I32)_mm512_add_epi16((__m512i)a, (__m512i)b); }
ZIGGURAT_INLINE I32 AddHalves(I32 a) { return (I32)_mm512_madd_epi16((__m512i)a, _mm512_set1_epi16(1)); }
ZIGGURAT_INLINE I32 Magnitude(I32 codes) { return (I32)_mm512_abs_epi8((__m512i)codes); }
ZIGGURAT_INLINE I32 WithSignOf(I32 codes, I32 q) {
  const __mmask64 negative = _mm512_movepi8_mask((__m512i)codes);
  return (I32)_mm512_mask_sub_epi8((__m512i)q, negative, _mm512_setzero_si512(), (__m512i)q);
}
ZIGGURAT_INLINE I32 LoadU8(const uint8_t* p) {
  return (I32)_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
ZIGGURAT_INLINE I32 LoadI8(const uint8_t* p) {
  return (I32)_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
ZIGGURAT_INLINE void StoreI8(I32 a, int8_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8((__m512i)a));
}
#elif defined(ZIGGURAT_ISA_avx2)
ZIGGURAT_INLINE I32 MulBytes(I32 codes, I32 q) { return (I32)_mm256_maddubs_epi16((__m256i)codes, (__m256i)q); }
ZIGGURAT_INLINE I32 Add16(I32 a, I32 b) { return (I32)_mm256_add_epi16((__m256i)a, (__m256i)b); }
ZIGGURAT_INLINE I32 AddHalves(I32 a) { return (I32)_mm256_madd_epi16((__m256i)a, _mm256_set1_epi16(1)); }
ZIGGURAT_INLINE I32 Magnitude(I32 codes) { return (I32)_mm256_abs_epi8((__m256i)codes); }
ZIGGURAT_INLINE I32 WithSignOf(I32 codes, I32 q) { return (I32)_mm256_sign_epi8((__m256i)q, (__m256i)codes); }
ZIGGURAT_INLINE I32 LoadU8(const uint8_t* p) {
  return (I32)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
ZIGGURAT_INLINE I32 LoadI8(const uint8_t* p) {
  return (I32)_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
// Values of a byte's range.
ZIGGURAT_INLINE void StoreI8(I32 a, int8_t* p) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)a), _mm256_extracti128_si256((__m256i)a, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
}
#else
ZIGGURAT_INLINE I32 MulBytes(I32 codes, I32 q) { return (I32)_mm_maddubs_epi16((__m128i)codes, (__m128i)q); }
ZIGGURAT_INLINE I32 Add16(I32 a, I32 b) { return (I32)_mm_add_epi16((__m128i)a, (__m128i)b); }
ZIGGURAT_INLINE I32 AddHalves(I32 a) { return (I32)_mm_madd_epi16((__m128i)a, _mm_set1_epi16(1)); }
ZIGGURAT_INLINE I32 Magnitude(I32 codes) { return (I32)_mm_abs_epi8((__m128i)codes); }
ZIGGURAT_INLINE I32 WithSignOf(I32 codes, I32 q) { return (I32)_mm_sign_epi8((__m128i)q, (__m128i)codes); }
ZIGGURAT_INLINE I32 LoadU8(const uint8_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return (I32)_mm_cvtepu8_epi32(_mm_cvtsi32_si128(word));
}
ZIGGURAT_INLINE I32 LoadI8(const uint8_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return (I32)_mm_cvtepi8_epi32(_mm_cvtsi32_si128(word));
}
ZIGGURAT_INLINE void StoreI8(I32 a, int8_t* p) {
  const __m128i words = _mm_packs_epi32((__m128i)a, (__m128i)a);
  const int32_t bytes = _mm_cvtsi128_si32(_mm_packs_epi16(words, words));
  __builtin_memcpy(p, &bytes, 4);
}
#endif

// Keeps a chain of integer sums a chain. The compiler may add integers in any order and would make trees of them, with
// more values alive than there are registers (measured: two thirds of the speed lost).
ZIGGURAT_INLINE I32 InOrder(I32 a) {
#if defined(ZIGGURAT_ISA_avx512) || defined(ZIGGURAT_ISA_avx512vnni)
  __asm__("" : "+v"(a));
#else
  __asm__("" : "+x"(a));
#endif
  return a;
}

// Sums of unsigned codes: sum <- sum + codes q, and its int32 lanes at the end.
ZIGGURAT_INLINE I32 AddProducts(I32 sum, I32 codes, I32 q) {
#if defined(ZIGGURAT_ISA_avx512vnni)
  return (I32)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)codes, (__m512i)q);
#else
  return InOrder(Add16(sum, MulBytes(codes, q)));
#endif
}
ZIGGURAT_INLINE I32 FirstProducts(I32 codes, I32 q) {
  return kInt32Sums ? AddProducts(SetI32(0), codes, q) : MulBytes(codes, q);
}
// Sums of signed codes, in int32.
ZIGGURAT_INLINE I32 AddSignedProducts(I32 sum, I32 codes, I32 q) {
  return InOrder(AddWrap(sum, AddHalves(MulBytes(Magnitude(codes), WithSignOf(codes, q)))));
}
ZIGGURAT_INLINE I32 Total(I32 sum) { return kInt32Sums ? sum : AddHalves(sum); }

}  // namespace
}  // namespace ziggurat::cpu::ZIGGURAT_ISA
