// The bytes of a bool tensor: kernels and C++ know 0 and 1 only, files and requests may hold any; all but 0 are true.
#pragma once

#include <cstddef>

namespace ziggurat {

inline bool AreBools(const std::byte* data, size_t count) {
  std::byte all{0};
  for (size_t i = 0; i < count; ++i) all |= data[i];
  return all <= std::byte{1};
}

// `to` may be `from`.
inline void MakeBools(const std::byte* from, std::byte* to, size_t count) {
  for (size_t i = 0; i < count; ++i) to[i] = std::byte{from[i] != std::byte{0}};
}

}  // namespace ziggurat
