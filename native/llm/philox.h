// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): random bits as a function of
// (key, counter), so that a draw depends on nothing that was drawn before, in this sequence or in any other.
#pragma once

#include <array>
#include <cstdint>

namespace ziggurat::llm {

inline std::array<uint32_t, 4> Philox(std::array<uint32_t, 2> key, std::array<uint32_t, 4> counter) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

// Uniform in [0, 1), 53 bits: the draw for the token at `position` of sequence `index` under `seed`.
inline double UniformAt(uint64_t seed, int index, int64_t position) {
  const auto position_bits = static_cast<uint64_t>(position);
  const std::array<uint32_t, 4> bits =
      Philox({static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
             {static_cast<uint32_t>(position_bits), static_cast<uint32_t>(position_bits >> 32),
              static_cast<uint32_t>(index), 0});
  const uint64_t mantissa = (uint64_t{bits[0]} << 21) ^ (bits[1] >> 11);
  return static_cast<double>(mantissa & ((uint64_t{1} << 53) - 1)) * 0x1p-53;
}

}  // namespace ziggurat::llm
