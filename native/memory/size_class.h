// Sizes of small blocks: every 64 bytes to 1 KiB, then four a power of two to 32 KiB. At most a fifth of a block above
// 320 bytes is slack.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ziggurat {

inline constexpr int kSmallClasses = 36;
inline constexpr size_t kLargestSmall = 32 << 10;

struct SmallClasses {
  std::array<uint32_t, kSmallClasses> bytes{};             // by class
  std::array<uint8_t, kLargestSmall / 64 + 1> of_lines{};  // the class of a number of 64 bytes

  constexpr SmallClasses() {
    int count = 0;
    for (uint32_t size = 64; size <= 1024; size += 64) bytes[count++] = size;
    for (uint32_t power = 1024; power < kLargestSmall; power *= 2)
      for (uint32_t quarter = 1; quarter <= 4; ++quarter) bytes[count++] = power + quarter * (power / 4);
    uint8_t one = 0;
    for (size_t lines = 0; lines < of_lines.size(); ++lines) {
      while (bytes[one] < lines * 64) ++one;
      of_lines[lines] = one;
    }
  }
};
inline constexpr SmallClasses kSmall;

// Of at most kLargestSmall bytes.
constexpr int SmallClassOf(size_t bytes) { return kSmall.of_lines[(bytes + 63) / 64]; }

}  // namespace ziggurat
