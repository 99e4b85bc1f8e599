// A tile of the linear product: up to kMaxTokens rows of x times the 16 rows of one strip.
#pragma once

#include "cpu/kernels/linear_formats.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

struct LinearTile {
  const uint8_t* records;  // of the first group
  const uint8_t* codes;
  int64_t groups;
  const int8_t* q;  // of the first token, from the first group on
  int64_t q_row;
  const LinearGroup* info;
  int64_t info_row;
  float* y;
  int64_t y_row;
  int columns;        // of y that the strip has, 1 .. 16
  bool accumulate;    // y holds the sum of earlier groups
  const float* bias;  // added at the end, or null
};
using LinearTileFn = void (*)(const LinearTile& tile);

// Bytes of codes fetched ahead of use: 400 ns at 20 GB/s a core. Into the first-level cache the same distance reads a
// quarter less: fetches that wait for memory take the few places that loads need. Reads past the end fetch nothing.
constexpr int64_t kCodesAhead = 8192;
constexpr int64_t kRecordsAhead = 256;

template <int tokens>
ZIGGURAT_INLINE void LoadSums(const LinearTile& a, F32 (&y)[tokens][kVectors]) {
#pragma GCC unroll 8
  for (int t = 0; t < tokens; ++t)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const int columns = a.columns - v * kLanes;
      const float* from = a.y + t * a.y_row + v * kLanes;
      if (!a.accumulate || columns <= 0)
        y[t][v] = Zero();
      else
        y[t][v] = columns >= kLanes ? Load(from) : LoadN(from, columns);
    }
}

template <int tokens>
ZIGGURAT_INLINE void StoreSums(const LinearTile& a, const F32 (&y)[tokens][kVectors]) {
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const int left = a.columns - v * kLanes;
    if (left <= 0) break;
    const int columns = left < kLanes ? left : kLanes;
    const F32 bias = a.bias ? LoadN(a.bias + v * kLanes, columns) : Zero();
#pragma GCC unroll 8
    for (int t = 0; t < tokens; ++t) {
      const F32 value = a.bias ? y[t][v] + bias : y[t][v];
      float* to = a.y + t * a.y_row + v * kLanes;
      columns == kLanes ? Store(value, to) : StoreN(value, to, columns);
    }
  }
}

// The integer sums of steps [first, last) of a group, a chain from -z sum q.
template <typename Format, int tokens, int first, int last>
ZIGGURAT_INLINE void SumCodes(const LinearTile& a, const uint8_t* group, int64_t g, int sum,
                              I32 (&total)[tokens][kVectors]) {
#pragma GCC unroll 8
  for (int t = 0; t < tokens; ++t)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      if (Format::kZero || Format::kSigned)
        total[t][v] = SetI32(Format::kZero ? a.info[t * a.info_row + g].zero[sum] : 0);
#pragma GCC unroll 8
  for (int step = first; step < last; ++step) {
    I32 codes[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) codes[v] = Format::Codes(group, step, v);
#pragma GCC unroll 8
    for (int t = 0; t < tokens; ++t) {
      const I32 q = FourBytes(a.q + t * a.q_row + g * kLinearGroup + 4 * step);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        if (Format::kSigned)
          total[t][v] = AddSignedProducts(total[t][v], codes[v], q);
        else if (!Format::kZero && step == first)
          total[t][v] = FirstProducts(codes[v], q);
        else
          total[t][v] = AddProducts(total[t][v], codes[v], q);
      }
    }
  }
  if (!Format::kSigned)
#pragma GCC unroll 8
    for (int t = 0; t < tokens; ++t)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) total[t][v] = Total(total[t][v]);
}

template <int tokens>
ZIGGURAT_INLINE void AddScaled(const LinearTile& a, int64_t g, const F32 (&scale)[kVectors],
                               const I32 (&total)[tokens][kVectors], F32 (&y)[tokens][kVectors]) {
#pragma GCC unroll 8
  for (int t = 0; t < tokens; ++t) {
    const F32 s = Set(a.info[t * a.info_row + g].scale);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) y[t][v] = MulAdd(scale[v] * s, ToF32(total[t][v]), y[t][v]);
  }
}

template <typename Format, int tokens>
ZIGGURAT_INLINE void Group(const LinearTile& a, const uint8_t* record, const uint8_t* group, int64_t g, int i,
                           F32 (&y)[tokens][kVectors]) {
  constexpr int kHalf = kGroupSteps / 2;
  I32 total[tokens][kVectors];
  F32 scale[2][kVectors], minimum[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const GroupScales s = Format::Scales(record, group, i, v);
    scale[0][v] = s.scale[0];
    if (Format::kScales == 2) scale[1][v] = s.scale[1];
    if (Format::kMinimum) minimum[v] = s.minimum;
  }
  if constexpr (Format::kSums == 1) {
    SumCodes<Format, tokens, 0, kGroupSteps>(a, group, g, 0, total);
    AddScaled<tokens>(a, g, scale[0], total, y);
  } else {
    SumCodes<Format, tokens, 0, kHalf>(a, group, g, 0, total);
    if constexpr (Format::kScales == 2) {
      AddScaled<tokens>(a, g, scale[0], total, y);
      SumCodes<Format, tokens, kHalf, kGroupSteps>(a, group, g, 1, total);
      AddScaled<tokens>(a, g, scale[1], total, y);
    } else {
      I32 second[tokens][kVectors];
      SumCodes<Format, tokens, kHalf, kGroupSteps>(a, group, g, 1, second);
#pragma GCC unroll 8
      for (int t = 0; t < tokens; ++t)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) total[t][v] = AddWrap(total[t][v], second[t][v]);
      AddScaled<tokens>(a, g, scale[0], total, y);
    }
  }
  if constexpr (Format::kMinimum)
#pragma GCC unroll 8
    for (int t = 0; t < tokens; ++t) {
      const F32 sum = Set(a.info[t * a.info_row + g].sum);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) y[t][v] = MulAdd(minimum[v], sum, y[t][v]);
    }
}

template <typename Format, int tokens>
void RunLinearTile(const LinearTile& a) {
  F32 y[tokens][kVectors];
  LoadSums<tokens>(a, y);
  const uint8_t *record = a.records, *group = a.codes;
  for (int64_t g = 0; g < a.groups;) {
    if (Format::kRecordBytes)
      for (int line = 0; line < Format::kRecordBytes; line += kLine) Prefetch(record + kRecordsAhead + line);
    for (int i = 0; i < Format::kRecordGroups; ++i, ++g, group += Format::kGroupBytes) {
      if (Format::kRecordBytes)  // not in a panel, which lies in the first-level cache
#pragma GCC unroll 8
        for (int line = 0; line < Format::kGroupBytes; line += kLine) PrefetchFar(group + kCodesAhead + line);
      Group<Format, tokens>(a, record, group, g, i, y);
    }
    record += Format::kRecordBytes;
  }
  StoreSums<tokens>(a, y);
}

template <typename Format, int tokens>
constexpr LinearTileFn LinearTileOf() {
  if constexpr (Format::kRecordBytes || tokens >= kLeastPanelTile)
    return RunLinearTile<Format, tokens>;
  else
    return nullptr;
}

template <typename Format>
struct LinearTiles {
  static constexpr LinearTileFn kTiles[] = {
      LinearTileOf<Format, 1>(), LinearTileOf<Format, 2>(),
#if !defined(ZIGGURAT_ISA_sse42)
      LinearTileOf<Format, 3>(), LinearTileOf<Format, 4>(),
#if !defined(ZIGGURAT_ISA_avx2)
      LinearTileOf<Format, 5>(), LinearTileOf<Format, 6>(), LinearTileOf<Format, 7>(), LinearTileOf<Format, 8>(),
#endif
#endif
  };
  static_assert(sizeof kTiles / sizeof kTiles[0] == kMaxTokens);
};

}  // namespace
}  // namespace ziggurat::cpu::ZIGGURAT_ISA
