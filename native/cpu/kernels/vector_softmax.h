// What softmax and attention share: a row's maximum and exponentials of what lies below it.
#pragma once

#include "cpu/kernels/vector_math.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// The larger, `most` where x is NaN: a NaN makes every weight of its row NaN through their sum, so the maximum need not
// hand it on.
ZIGGURAT_INLINE F32 Rise(F32 x, F32 most) { return Max(x, most); }

// The bits of Exp for x <= 0 and NaN.
ZIGGURAT_INLINE F32 ExpOfNegative(F32 x) {
  const F32 bounded = Max(Set(-105.0f), x);
  const F32 n = RoundEven(bounded * Set(kLog2E));
  const F32 r = NegMulAdd(n, Set(kLn2Low), NegMulAdd(n, Set(kLn2High), bounded));
  return ScaleByPowerOf2(Set(1.0f) + MulAdd(r * r, ExpQuotient(r), r), n);
}

}  // namespace
}  // namespace ziggurat::cpu::ZIGGURAT_ISA
