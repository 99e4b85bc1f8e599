// Conversions between element types on one run of elements; same rules on y and x as the element-wise kernels, but y
// is never x.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace ziggurat::cpu {

using CastFn = void (*)(const void* x, void* y, int64_t n);

struct CastKernels {
  // Null for pairs that are not built: the float types above 8 bits, integers of 8, 32 and 64 bits and bool are.
  // Real to integer truncates; what does not fit 32 (for 64-bit integers: 64) bits gives the least such integer, as
  // x86 does, and narrower types take its low bits.
  CastFn (*find)(DType from, DType to);
};

}  // namespace ziggurat::cpu
