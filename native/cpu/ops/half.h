// float16 and bfloat16 on kernels that know float32: short runs are widened, computed and rounded once.
#pragma once

#include "cpu/kernel_table.h"

namespace ziggurat::cpu {

struct HalfCasts {
  CastFn widen = nullptr;  // null: the type is not a half type
  CastFn narrow = nullptr;

  HalfCasts() = default;
  HalfCasts(const VectorKernels& kernels, DType dtype) {
    if (dtype != DType::kFloat16 && dtype != DType::kBFloat16) return;
    widen = kernels.cast.find(dtype, DType::kFloat32);
    narrow = kernels.cast.find(DType::kFloat32, dtype);
  }
  explicit operator bool() const { return widen != nullptr; }
};

// float32, or a type that kernels reach through it.
inline bool ComputesInFloat32(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat16 || dtype == DType::kBFloat16;
}

}  // namespace ziggurat::cpu
