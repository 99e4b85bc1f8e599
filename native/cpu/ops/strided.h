// Copying a strided view to dense memory: what slicing, expanding, tiling and most transpositions are.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "tensor/shape.h"

namespace ziggurat::cpu {

struct StridedSource {
  const std::byte* data = nullptr;  // the element at index 0
  int64_t element_bytes = 0;        // 1, 2, 4, 8 or 16
  Shape dims;
  std::array<int64_t, kMaxRank> strides{};  // in elements; may be 0 or negative
};

// y gets dims.Count() elements, row-major.
void CopyStrided(const Team& team, const StridedSource& source, std::byte* y);

// Bytes worth a task of their own: what one core copies in some ten microseconds.
constexpr int64_t kCopyGrain = 131072;

}  // namespace ziggurat::cpu
