// float16 and bfloat16 on kernels that know float32: short runs (or whole tensors, for kernels that see rows) are
// widened, computed and rounded once.
#pragma once

#include <memory>

#include "cpu/kernel_table.h"
#include "device/device.h"

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

// Wraps a kernel that computes in float32 for a node whose tensors are of a half type; null kernels stay null.
std::unique_ptr<Kernel> ThroughFloat32(std::unique_ptr<Kernel> kernel, const VectorKernels& kernels);

// The float32 kernel that `make` prepares: as it is where input 0 is float32, wrapped where it is a half type, null
// for every other type.
template <typename Make>
std::unique_ptr<Kernel> ForFloats(const KernelSite& site, const KernelTable& table, const Make& make) {
  const DType dtype = site.node().Input(0)->type.dtype;
  if (!ComputesInFloat32(dtype)) return nullptr;
  std::unique_ptr<Kernel> kernel = make();
  return dtype == DType::kFloat32 ? std::move(kernel) : ThroughFloat32(std::move(kernel), *table.vector);
}

}  // namespace ziggurat::cpu
