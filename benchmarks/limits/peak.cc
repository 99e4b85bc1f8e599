#include "limits/peak.h"

#include "cpu/simd.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// Sums that depend on nothing but themselves: enough to cover the latency (4 cycles) of two ports, few enough for the
// 16 registers of the older instruction sets.
constexpr int kSums = 12;

double Fma(int64_t rounds) {
  F32 sum[kSums];
  for (int i = 0; i < kSums; ++i) sum[i] = Set(static_cast<float>(i));
  F32 factor = Set(0.999f), addend = Set(0.001f);
  for (int64_t round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+x"(factor), "+x"(addend));  // keeps the compiler from folding rounds
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) sum[i] = MulAdd(sum[i], factor, addend);
  }
  F32 total = Zero();
  for (int i = 0; i < kSums; ++i) total = total + sum[i];
  volatile float sink = SumLanes(total);
  (void)sink;
  return 2.0 * kLanes * kSums * static_cast<double>(rounds);
}

#if defined(ZIGGURAT_ISA_avx512vnni)
double DotInt8(int64_t rounds) {
  __m512i sum[kSums];
  for (int i = 0; i < kSums; ++i) sum[i] = _mm512_set1_epi32(i);
  __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
  for (int64_t round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+x"(a), "+x"(b));
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) sum[i] = _mm512_dpbusd_epi32(sum[i], a, b);
  }
  for (int i = 1; i < kSums; ++i) sum[0] = _mm512_add_epi32(sum[0], sum[i]);
  volatile int sink = _mm512_reduce_add_epi32(sum[0]);
  (void)sink;
  return 2.0 * 64 * kSums * static_cast<double>(rounds);
}
#else
#if defined(ZIGGURAT_ISA_avx512)
using Bytes = __m512i;
#define ZIGGURAT_PEAK(op) _mm512_##op
#elif defined(ZIGGURAT_ISA_avx2)
using Bytes = __m256i;
#define ZIGGURAT_PEAK(op) _mm256_##op
#else
using Bytes = __m128i;
#define ZIGGURAT_PEAK(op) _mm_##op
#endif
// Unsigned times signed bytes, pairs summed in 16 bits: what kernels without VNNI do for codes of few bits.
constexpr int kByteSums = 8;  // beside products and operands in 16 registers
double DotInt8(int64_t rounds) {
  Bytes sum[kByteSums];
#pragma GCC unroll 8
  for (int i = 0; i < kByteSums; ++i) sum[i] = ZIGGURAT_PEAK(set1_epi16)(static_cast<short>(i));
  Bytes a = ZIGGURAT_PEAK(set1_epi8)(3), b = ZIGGURAT_PEAK(set1_epi8)(5);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
    for (int i = 0; i < kByteSums; ++i) {
      __asm__ volatile("" : "+x"(a), "+x"(sum[i]));  // a product each: one would serve all sums
      sum[i] = ZIGGURAT_PEAK(add_epi16)(sum[i], ZIGGURAT_PEAK(maddubs_epi16)(a, b));
    }
  }
#pragma GCC unroll 8
  for (int i = 1; i < kByteSums; ++i) sum[0] = ZIGGURAT_PEAK(add_epi16)(sum[0], sum[i]);
  int16_t lanes[kVectorBytes / 2];
  __builtin_memcpy(lanes, &sum[0], kVectorBytes);
  volatile int16_t sink = lanes[0];
  (void)sink;
  return 2.0 * kVectorBytes * kByteSums * static_cast<double>(rounds);
}
#undef ZIGGURAT_PEAK
#endif

// As matrix-vector products read: ascending, with prefetches 16 lines ahead.
float Read(const float* data, size_t floats) {
  F32 sum[4] = {Zero(), Zero(), Zero(), Zero()};
  size_t i = 0;
  for (; i + 64 <= floats; i += 64) {
    for (int line = 0; line < 4; ++line) Prefetch(data + i + 256 + 16 * line);
    for (int j = 0; j < 64; j += kLanes) sum[j / kLanes % 4] = sum[j / kLanes % 4] + Load(data + i + j);
  }
  return SumLanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

}  // namespace

extern const bench::Peak kPeak;
const bench::Peak kPeak = {Fma, DotInt8, Read};

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
