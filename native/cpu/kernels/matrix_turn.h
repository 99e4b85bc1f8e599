// Turning a square of registers over: rows become columns.
#pragma once

#include "cpu/simd.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// rows[i] lane j becomes rows[j] lane i. Neighbours are interleaved twice within 128 bits, which leaves in part L of
// register 4 i + j the column 4 L + j of rows 4 i .. 4 i + 3; then whole parts are moved.
ZIGGURAT_INLINE void Turn(F32 (&rows)[kLanes]) {
#if defined(__AVX512F__)
  F32 pairs[16], fours[16];
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 4; ++j) {
      const __m512d x = _mm512_castps_pd(pairs[i + j / 2]), y = _mm512_castps_pd(pairs[i + 2 + j / 2]);
      fours[i + j] = _mm512_castpd_ps(j % 2 ? _mm512_unpackhi_pd(x, y) : _mm512_unpacklo_pd(x, y));
    }
  for (int j = 0; j < 4; ++j) {
    const F32 even_low = _mm512_shuffle_f32x4(fours[j], fours[4 + j], 0x88);
    const F32 even_high = _mm512_shuffle_f32x4(fours[8 + j], fours[12 + j], 0x88);
    const F32 odd_low = _mm512_shuffle_f32x4(fours[j], fours[4 + j], 0xdd);
    const F32 odd_high = _mm512_shuffle_f32x4(fours[8 + j], fours[12 + j], 0xdd);
    rows[j] = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
    rows[4 + j] = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
    rows[8 + j] = _mm512_shuffle_f32x4(even_low, even_high, 0xdd);
    rows[12 + j] = _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd);
  }
#elif defined(__AVX2__)
  F32 pairs[8], fours[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 8; i += 4)
    for (int j = 0; j < 4; ++j) {
      const __m256d x = _mm256_castps_pd(pairs[i + j / 2]), y = _mm256_castps_pd(pairs[i + 2 + j / 2]);
      fours[i + j] = _mm256_castpd_ps(j % 2 ? _mm256_unpackhi_pd(x, y) : _mm256_unpacklo_pd(x, y));
    }
  for (int j = 0; j < 4; ++j) {
    rows[j] = _mm256_permute2f128_ps(fours[j], fours[4 + j], 0x20);
    rows[4 + j] = _mm256_permute2f128_ps(fours[j], fours[4 + j], 0x31);
  }
#else
  _MM_TRANSPOSE4_PS(rows[0], rows[1], rows[2], rows[3]);
#endif
}

}  // namespace
}  // namespace ziggurat::cpu::ZIGGURAT_ISA
