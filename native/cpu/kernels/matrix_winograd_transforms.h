// Winograd's transforms of one row or column of a tile, for F(2,3) and F(4,3): m + 2 values in, and m values out.
#pragma once

#include "cpu/simd.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// out = B^T in over 4 or 6 values.
ZIGGURAT_INLINE void Forward2(const F32* in, F32* out) {
  out[0] = in[0] - in[2];
  out[1] = in[1] + in[2];
  out[2] = in[2] - in[1];
  out[3] = in[1] - in[3];
}
// Points 0, 1, -1, 1/2, -2: rows of B^T scaled so that only G has fractions.
ZIGGURAT_INLINE void Forward4(const F32* in, F32* out) {
  const F32 one_half = Set(1.5f), two = Set(2.0f), half = Set(0.5f), five_halves = Set(2.5f);
  // x^4 + 3/2 x^3 - 2 x^2 - 3/2 x + 1 is the product over all points but 0.
  out[0] = in[0] + in[4] + one_half * (in[3] - in[1]) - two * in[2];
  out[1] = in[4] - in[1] + five_halves * in[3] + half * in[2];
  out[2] = in[4] + in[1] + half * in[3] - five_halves * in[2];
  out[3] = in[4] - in[2] + two * (in[3] - in[1]);
  out[4] = in[4] - in[2] + half * (in[1] - in[3]);
  out[5] = in[1] + in[5] + one_half * (in[4] - in[2]) - two * in[3];
}

// out = A^T in: m values from m + 2.
ZIGGURAT_INLINE void Back2(const F32* in, F32* out) {
  out[0] = in[0] + in[1] + in[2];
  out[1] = in[1] - in[2] - in[3];
}
ZIGGURAT_INLINE void Back4(const F32* in, F32* out) {
  const F32 sum = in[1] + in[2], difference = in[1] - in[2];
  out[0] = in[0] + sum + in[3] + in[4];
  out[1] = difference + Set(0.5f) * in[3] - Set(2.0f) * in[4];
  out[2] = sum + Set(0.25f) * in[3] + Set(4.0f) * in[4];
  out[3] = difference + Set(0.125f) * in[3] - Set(8.0f) * in[4] + in[5];
}

template <int m>
ZIGGURAT_INLINE void Forward(const F32* in, F32* out) {
  m == 2 ? Forward2(in, out) : Forward4(in, out);
}
template <int m>
ZIGGURAT_INLINE void Back(const F32* in, F32* out) {
  m == 2 ? Back2(in, out) : Back4(in, out);
}

}  // namespace
}  // namespace ziggurat::cpu::ZIGGURAT_ISA
