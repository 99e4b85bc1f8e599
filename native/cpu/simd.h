// A small layer over the compilers' own vector types: what the kernels are written on.
//
// Everything lives in namespace ziggurat::cpu::<isa> with internal linkage, so that no function compiled for one
// instruction set can be picked by the linker for another. Include it from kernel units only.
//
//   V<float>, V<int32_t>   the native register; + - * / and, for int32, & | ^ ~ << >> work lane by lane
//   Mask                   one truth value per 32-bit lane (a k-register or a vector of ones and zeros)
//   kLanes                 32-bit lanes a register: 4, 8 or 16
//
// NaN: Min(a, b) is a < b ? a : b and Max(a, b) is a > b ? a : b, so a NaN in either operand gives b. Hence
// Max(zero, x) keeps a NaN in x. MinNan and MaxNan give NaN if either operand is NaN. Ordered comparisons are
// false on NaN, Ne is true.
// MulAdd is fused where the instruction set has FMA and two roundings on sse42: results may differ between
// instruction sets, never within one.
// LoadN and StoreN touch only the first n elements (0 <= n <= kLanes); lanes from n on load as zero.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#define ZIGGURAT_INLINE static inline __attribute__((always_inline))

#if defined(ZIGGURAT_ISA_avx512) || defined(ZIGGURAT_ISA_avx512vnni)
#include "cpu/simd/avx512.h"
#elif defined(ZIGGURAT_ISA_avx2)
#include "cpu/simd/avx2.h"
#elif defined(ZIGGURAT_ISA_sse42)
#include "cpu/simd/sse42.h"
#else
#error "cpu/simd.h: compile with -DZIGGURAT_ISA_<isa>"
#endif

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

template <typename T>
struct VectorOf;
template <>
struct VectorOf<float> {
  using Type = F32;
};
template <>
struct VectorOf<int32_t> {
  using Type = I32;
};
template <typename T>
using V = typename VectorOf<T>::Type;

constexpr int kVectorBytes = kLanes * 4;

ZIGGURAT_INLINE F32 Zero() { return Set(0.0f); }

ZIGGURAT_INLINE F32 Abs(F32 a) { return BitCastF32(BitCastI32(a) & SetI32(0x7fffffff)); }
ZIGGURAT_INLINE F32 Neg(F32 a) { return BitCastF32(BitCastI32(a) ^ SetI32(INT32_MIN)); }
// The magnitude of `magnitude` with the sign of `sign`.
ZIGGURAT_INLINE F32 CopySign(F32 magnitude, F32 sign) {
  const I32 sign_bit = SetI32(INT32_MIN);
  return BitCastF32((BitCastI32(magnitude) & ~sign_bit) | (BitCastI32(sign) & sign_bit));
}
ZIGGURAT_INLINE Mask IsNan(F32 a) { return Ne(a, a); }
// min(max(a, lo), hi); a NaN in `a` stays.
ZIGGURAT_INLINE F32 Clamp(F32 a, F32 lo, F32 hi) { return Min(hi, Max(lo, a)); }
ZIGGURAT_INLINE F32 MinNan(F32 a, F32 b) { return Select(IsNan(a), a, Min(a, b)); }
ZIGGURAT_INLINE F32 MaxNan(F32 a, F32 b) { return Select(IsNan(a), a, Max(a, b)); }

ZIGGURAT_INLINE void Prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }

// bfloat16 is the upper half of a float32: exact on load, rounded to nearest even on store, NaN kept quiet.
ZIGGURAT_INLINE F32 LoadBf16(const uint16_t* p) { return BitCastF32(ShiftLeft<16>(LoadU16(p))); }
ZIGGURAT_INLINE F32 LoadBf16N(const uint16_t* p, int n) { return BitCastF32(ShiftLeft<16>(LoadU16N(p, n))); }
ZIGGURAT_INLINE I32 RoundToBf16Bits(F32 a) {
  const I32 bits = BitCastI32(a);
  // Adding half a unit less one, plus the lowest kept bit, rounds ties to even; a carry into the exponent is right.
  const I32 even = ShiftRightLogical<16>(bits) & SetI32(1);
  const I32 rounded = ShiftRightLogical<16>(AddWrap(bits, AddWrap(even, SetI32(0x7fff))));
  const I32 quiet = ShiftRightLogical<16>(bits) | SetI32(0x40);
  return SelectI32(IsNan(a), quiet, rounded);
}
ZIGGURAT_INLINE void StoreBf16(F32 a, uint16_t* p) { StoreU16(RoundToBf16Bits(a), p); }
ZIGGURAT_INLINE void StoreBf16N(F32 a, uint16_t* p, int n) { StoreU16N(RoundToBf16Bits(a), p, n); }

}  // namespace
}  // namespace ziggurat::cpu::ZIGGURAT_ISA
