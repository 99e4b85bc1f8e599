// The loop of the register tile, over B in float32 or in 16 bits.
#pragma once

#include "cpu/kernels/matrix_tile.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// How B is read: `Element` in memory, a register of them as float32.
struct RightF32 {
  using Element = float;
  ZIGGURAT_INLINE F32 LoadLanes(const float* b) { return Load(b); }
};
struct RightF16 {
  using Element = uint16_t;
  ZIGGURAT_INLINE F32 LoadLanes(const uint16_t* b) { return LoadF16(b); }
};
struct RightBf16 {
  using Element = uint16_t;
  ZIGGURAT_INLINE F32 LoadLanes(const uint16_t* b) { return LoadBf16(b); }
};

// Rows of B fetched ahead of use: 8 rows of 128 bytes cover the latency of the second-level cache and, for a
// matrix-vector product, keep enough lines in flight to reach the memory bandwidth. Narrower elements: as many bytes.
template <typename Right>
constexpr int64_t kAhead = 32 / sizeof(typename Right::Element);

ZIGGURAT_INLINE void PrefetchFar(const char* p) { _mm_prefetch(p, _MM_HINT_T1); }

template <typename Right, int kRows, int kVectors>
ZIGGURAT_INLINE void Step(const float* a, const typename Right::Element* b, F32 (&sum)[kRows][kVectors]) {
  F32 right[kVectors];
#pragma GCC unroll 2
  for (int j = 0; j < kVectors; ++j) right[j] = Right::LoadLanes(b + j * kLanes);
#pragma GCC unroll 14
  for (int i = 0; i < kRows; ++i) {
    const F32 left = Set(a[i * kKBlock]);
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) sum[i][j] = MulAdd(left, right[j], sum[i][j]);
  }
}

template <bool kAccumulate, bool kResidual, int kRows, int kVectors>
ZIGGURAT_INLINE void StoreEnded(const TileArgs& args, const F32 (&sum)[kRows][kVectors]) {
  const TileEnd& end = args.end;
  const F32 low = Set(end.low), high = Set(end.high);
  F32 bias[kVectors];
#pragma GCC unroll 2
  for (int j = 0; j < kVectors; ++j) bias[j] = end.bias ? Load(end.bias + j * kLanes) : Set(-0.0f);  // -0 adds nothing
  float* c = args.c;
  const float* residual = end.residual;
#pragma GCC unroll 14
  for (int i = 0; i < kRows; ++i, c += args.c_row, residual += end.residual_row)
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) {
      F32 y = kAccumulate ? Load(c + j * kLanes) + sum[i][j] : sum[i][j];
      y = y + bias[j];
      if constexpr (kResidual) y = y + Load(residual + j * kLanes);
      Store(Clamp(y, low, high), c + j * kLanes);
    }
}

// Stores the sums of a block, added to C where it holds those before; the last block's are ended.
template <int kRows, int kVectors>
ZIGGURAT_INLINE void Flush(const TileArgs& args, bool accumulate, bool last, const F32 (&sum)[kRows][kVectors]) {
  if (last && args.end.applies) {
    if (accumulate) {
      if (args.end.residual) return StoreEnded<true, true>(args, sum);
      return StoreEnded<true, false>(args, sum);
    }
    if (args.end.residual) return StoreEnded<false, true>(args, sum);
    return StoreEnded<false, false>(args, sum);
  }
#pragma GCC unroll 14
  for (int i = 0; i < kRows; ++i) {
    float* c = args.c + i * args.c_row;
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j, c += kLanes) {
      const int columns = args.columns - j * kLanes;
      if (columns <= 0) break;  // a tile of 16-bit elements has all its vectors, whatever the columns
      if (columns >= kLanes)
        Store(accumulate ? Load(c) + sum[i][j] : sum[i][j], c);
      else
        StoreN(accumulate ? LoadN(c, columns) + sum[i][j] : sum[i][j], c, columns);
    }
  }
}

template <typename Right, int kRows, int kVectors>
ZIGGURAT_INLINE void TileLoop(const TileArgs& args) {
  const float* a = args.a;
  const auto* b = static_cast<const typename Right::Element*>(args.b);
  const int64_t step = args.b_step;
  bool accumulate = args.accumulate;
  constexpr bool kFetches = kRows > kMaxMr / 2;
  const char* next = args.next ? args.next : static_cast<const char*>(args.b);
  const int64_t next_step = args.next ? args.next_step : 0;
  for (int64_t k = args.k; k > 0; k -= kKBlock, a += kRows * kKBlock) {
    F32 sum[kRows][kVectors];
#pragma GCC unroll 14
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) sum[i][j] = Zero();
    const int64_t block = k < kKBlock ? k : kKBlock;
    int64_t i = 0;
#pragma GCC unroll 1
    for (; i < block; ++i, b += step) {
      Prefetch(b + kAhead<Right> * step);
      if (kVectors * kLanes * sizeof *b > 64) Prefetch(b + kAhead<Right> * step + 64 / sizeof *b);
      if constexpr (kFetches) {
        PrefetchFar(next);
        next += next_step;
      }
      Step<Right, kRows, kVectors>(a + i, b, sum);
    }
    Flush<kRows, kVectors>(args, accumulate, k <= kKBlock, sum);
    accumulate = true;
  }
}

}  // namespace
}  // namespace ziggurat::cpu::ZIGGURAT_ISA
