// Rows of x to signed bytes, groups of 32 (the rule is in linear.h).
#include "cpu/kernels/linear_formats.h"
#include "cpu/kernels/linear_parts.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

constexpr int kGroupVectors = static_cast<int>(kLinearGroup) / kLanes;
constexpr float kLeastAmax = 0x1p-118f;  // below, 127 / amax would overflow

ZIGGURAT_INLINE int32_t LargestLane(I32 a) {
  int32_t largest = a[0];
  for (int i = 1; i < kLanes; ++i) largest = a[i] > largest ? a[i] : largest;
  return largest;
}

// Sums of the bytes 4 i, 4 i + 1 (low) and 4 i + 2, 4 i + 3 (high) of 16 bytes, as int16 of the first lane.
ZIGGURAT_INLINE __m128i PairSums(const int8_t* q) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(q));
  const __m128i pairs = _mm_maddubs_epi16(_mm_set1_epi8(1), bytes);
  const __m128i halves = _mm_add_epi16(pairs, _mm_shuffle_epi32(pairs, 0x4e));
  return _mm_add_epi16(halves, _mm_shuffle_epi32(halves, 0xb1));
}
// int16 pairs times -z, as the word that sums begin from.
ZIGGURAT_INLINE int32_t Zero16(__m128i sums, int zero) {
  return _mm_cvtsi128_si32(_mm_mullo_epi16(sums, _mm_set1_epi16(static_cast<int16_t>(-zero))));
}
ZIGGURAT_INLINE int32_t SumOfPair(__m128i sums) { return _mm_cvtsi128_si32(_mm_madd_epi16(sums, _mm_set1_epi16(1))); }

template <typename Format>
ZIGGURAT_INLINE void FinishGroup(float scale, const int8_t* q, LinearGroup* group) {
  const __m128i low = PairSums(q), high = PairSums(q + 16), all = _mm_add_epi16(low, high);
  group->scale = scale;
  group->sum = scale * static_cast<float>(SumOfPair(all));
  if constexpr (kInt32Sums) {
    group->zero[0] = -Format::kZero * SumOfPair(Format::kSums == 2 ? low : all);
    group->zero[1] = -Format::kZero * SumOfPair(high);
  } else {
    group->zero[0] = Zero16(Format::kSums == 2 ? low : all, Format::kZero);
    group->zero[1] = Zero16(high, Format::kZero);
  }
}

template <typename Format>
void QuantizeRow(const float* x, int64_t k, int8_t* q, LinearGroup* groups) {
  for (int64_t k0 = 0; k0 < k; k0 += kLinearGroup, x += kLinearGroup, q += kLinearGroup, ++groups) {
    F32 values[kGroupVectors];
    // Magnitudes compare like their bits; those of infinities and NaN are above all others.
    I32 largest = SetI32(0);
    for (int v = 0; v < kGroupVectors; ++v) {
      values[v] = Load(x + v * kLanes);
      largest = MaxI32(largest, BitCastI32(Abs(values[v])));
    }
    const int32_t bits = LargestLane(largest);
    float amax;
    __builtin_memcpy(&amax, &bits, 4);
    const bool finite = bits < 0x7f800000, counts = finite && amax >= kLeastAmax;
    const F32 inverse = Set(counts ? 127.0f / amax : 0.0f);
    for (int v = 0; v < kGroupVectors; ++v)
      StoreI8(counts ? ToI32Round(values[v] * inverse) : SetI32(0), q + v * kLanes);
    FinishGroup<Format>(counts ? amax / 127.0f : finite ? 0.0f : __builtin_nanf(""), q, groups);
  }
}

}  // namespace

void QuantizeInput(const QuantizeInputArgs& args) {
  WithFormat(args.format, [&](auto format) {
    for (int64_t row = 0; row < args.rows; ++row)
      QuantizeRow<decltype(format)>(args.x + row * args.x_row, args.k, args.q + row * args.k,
                                    args.groups + row * (args.k / kLinearGroup));
  });
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
