// Doors into peak.cc, which is compiled once per instruction set, as kernels are.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ziggurat::bench {

struct Peak {
  // Runs `rounds` rounds of independent multiply-adds on registers; returns the operations done (2 per multiply-add).
  double (*fma)(int64_t rounds);
  double (*dot_int8)(int64_t rounds);               // the same of byte products summed in pairs or fours
  float (*read)(const float* data, size_t floats);  // reads all, returns something that depends on it
};

}  // namespace ziggurat::bench
