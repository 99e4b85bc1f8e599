#include "base/cpu_info.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace ziggurat {
namespace {

#if defined(__x86_64__)
struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// Zeros for a leaf that the CPU does not have, so that every feature test on it is false.
Registers Cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  Registers r;
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) return {};
  return r;
}

bool Bit(uint32_t word, int bit) { return (word >> bit) & 1u; }

// Which register states the OS saves on a context switch (XCR0). An instruction set is usable only if it does.
uint64_t EnabledStates(const Registers& leaf1) {
  if (!Bit(leaf1.ecx, 27)) return 0;  // OSXSAVE
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

// The features each kernel set is compiled with (native/CMakeLists.txt); a set implies those before it.
std::vector<std::string_view> UsableIsas() {
  const Registers leaf1 = Cpuid(1), leaf7 = Cpuid(7), extended = Cpuid(0x80000001u);
  const uint64_t states = EnabledStates(leaf1);
  const bool sse42 = Bit(leaf1.ecx, 20) && Bit(leaf1.ecx, 23) && Bit(leaf1.ecx, 9);  // SSE4.2, POPCNT, SSSE3
  const bool ymm = (states & 0x6) == 0x6;
  const bool avx2 = sse42 && ymm && Bit(leaf1.ecx, 28) && Bit(leaf1.ecx, 12) && Bit(leaf1.ecx, 29) &&  // AVX FMA F16C
                    Bit(leaf7.ebx, 5) && Bit(leaf7.ebx, 8);                                            // AVX2 BMI2
  const bool zmm = (states & 0xe6) == 0xe6;
  const bool general = Bit(leaf7.ebx, 3) && Bit(extended.ecx, 5) && Bit(leaf1.ecx, 22);  // BMI1 LZCNT MOVBE
  const bool avx512 = avx2 && zmm && general && Bit(leaf7.ebx, 16) && Bit(leaf7.ebx, 17) && Bit(leaf7.ebx, 28) &&
                      Bit(leaf7.ebx, 30) && Bit(leaf7.ebx, 31);  // F DQ CD BW VL
  const bool vnni = avx512 && Bit(leaf7.ecx, 11);
  std::vector<std::string_view> isas;
  if (sse42) isas.push_back("sse42");
  if (avx2) isas.push_back("avx2");
  if (avx512) isas.push_back("avx512");
  if (vnni) isas.push_back("avx512vnni");
  return isas;
}

std::string ModelName() {
  if (Cpuid(0x80000000u).eax < 0x80000004u) return "";
  char text[49] = {};
  for (uint32_t i = 0; i < 3; ++i) {
    const Registers r = Cpuid(0x80000002u + i);
    std::memcpy(text + 16 * i, &r, 16);
  }
  std::string name = text;
  while (!name.empty() && name.back() == ' ') name.pop_back();
  const size_t first = name.find_first_not_of(' ');
  return first == std::string::npos ? "" : name.substr(first);
}

// Leaf 4 (Intel) and 0x8000001D (AMD) list the caches in one format.
CacheSizes Caches() {
  CacheSizes sizes;
  for (uint32_t leaf : {0x4u, 0x8000001Du}) {
    for (uint32_t index = 0; index < 16; ++index) {
      const Registers r = Cpuid(leaf, index);
      const uint32_t type = r.eax & 31, level = (r.eax >> 5) & 7;
      if (type == 0) break;
      if (type == 2) continue;  // instructions only
      const size_t bytes =
          (size_t{r.ebx >> 22} + 1) * ((r.ebx >> 12 & 0x3ff) + 1) * ((r.ebx & 0xfff) + 1) * (size_t{r.ecx} + 1);
      if (level == 1) sizes.l1_data = bytes;
      if (level == 2) sizes.l2 = bytes;
      if (level == 3) sizes.l3 = bytes;
    }
    if (sizes.l1_data) break;
  }
  return sizes;
}
#endif

}  // namespace

CpuInfo DetectCpu() {
  CpuInfo info;
#if defined(__x86_64__)
  info.model = ModelName();
  info.isas = UsableIsas();
  info.caches = Caches();
  info.in_virtual_machine = Bit(Cpuid(1).ecx, 31);
#endif
  return info;
}

}  // namespace ziggurat
