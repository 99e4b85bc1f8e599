// The vector kernels of every instruction set that this machine can run.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "check.h"
#include "cpu/isas.h"

namespace ziggurat::test {

struct Isa {
  const char* name;
  const cpu::VectorKernels* kernels;
};

inline std::vector<Isa> RunnableIsas() {
  std::vector<Isa> isas;
  for (const cpu::KernelTable* table : HostTables()) isas.push_back({table->isa, table->vector});
  return isas;
}

// Distance of y from the exact value in units in the last place of the exact value as float32; a NaN or infinity must
// be met exactly.
inline double UlpError(float y, double exact) {
  const float rounded = static_cast<float>(exact);
  if (std::isnan(rounded) || std::isnan(y)) return std::isnan(rounded) == std::isnan(y) ? 0 : INFINITY;
  if (std::isinf(rounded) || std::isinf(y)) {
    if (rounded == y) return 0;
    // An overflow is one unit away from the largest finite value.
    return std::fabs(static_cast<double>(y)) >= 3.4028234e38 && std::fabs(exact) >= 3.4028234e38 ? 1 : INFINITY;
  }
  int exponent;
  std::frexp(rounded, &exponent);
  const double unit = std::ldexp(1.0, std::max(exponent - 24, -149));
  return std::fabs(y - exact) / unit;
}

inline uint32_t Bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline float FromBits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// A small fixed-seed generator: tests must not depend on the standard library's.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2 + 1) {}
  uint32_t Next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 32);
  }
  // Uniform in [lo, hi).
  float Uniform(float lo, float hi) { return lo + (hi - lo) * (Next() >> 8) * 0x1p-24f; }
  int64_t Below(int64_t n) { return static_cast<int64_t>(Next() % static_cast<uint64_t>(n)); }

 private:
  uint64_t state_;
};

}  // namespace ziggurat::test
