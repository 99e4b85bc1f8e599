// The one shape of every sum along a contiguous row. Include it from kernel units only.
//
// Element i goes to lane i % kLanes of accumulator (i / kLanes) % 4; the accumulators are joined as
// (0 + 1) + (2 + 3), then the lanes by halves (simd.h). The result is thus a function of the row's elements alone,
// and four chains hide the latency of an addition. Lanes that a short last register lacks leave their accumulator as
// it is.
#pragma once

#include <math.h>

#include "cpu/simd.h"

// A lambda on registers must be inlined as a function marked ZIGGURAT_INLINE is.
#define ZIGGURAT_LAMBDA __attribute__((always_inline))

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

constexpr int kChains = 4;

// For loops whose last round alone is short: the full rounds keep the plain (on sse42 far cheaper) access.
ZIGGURAT_INLINE F32 LoadPart(const float* p, int n) { return n >= kLanes ? Load(p) : LoadN(p, n); }
ZIGGURAT_INLINE void StorePart(F32 a, float* p, int n) {
  if (n >= kLanes)
    Store(a, p);
  else
    StoreN(a, p, n);
}

// step(accumulator, x) and join(accumulator, accumulator), both lane by lane; `identity` starts every chain.
template <typename Step, typename Join>
ZIGGURAT_INLINE F32 Tree(const float* x, int64_t n, F32 identity, Step step, Join join) {
  F32 chains[kChains] = {identity, identity, identity, identity};
  int64_t i = 0;
  for (; i + kChains * kLanes <= n; i += kChains * kLanes)
    for (int c = 0; c < kChains; ++c) chains[c] = step(chains[c], Load(x + i + c * kLanes));
  for (int c = 0; c < kChains && i < n; ++c, i += kLanes) {
    const int left = static_cast<int>(n - i < kLanes ? n - i : kLanes);
    chains[c] = Select(FirstN(left), step(chains[c], LoadPart(x + i, left)), chains[c]);
  }
  return join(join(chains[0], chains[1]), join(chains[2], chains[3]));
}

ZIGGURAT_INLINE F32 JoinSum(F32 a, F32 b) { return a + b; }
ZIGGURAT_INLINE F32 JoinMax(F32 a, F32 b) { return MaxNan(a, b); }
ZIGGURAT_INLINE F32 JoinMin(F32 a, F32 b) { return MinNan(a, b); }

ZIGGURAT_INLINE float RowSum(const float* x, int64_t n) { return SumLanes(Tree(x, n, Zero(), JoinSum, JoinSum)); }
ZIGGURAT_INLINE float RowMax(const float* x, int64_t n) {
  return MaxLanes(Tree(x, n, Set(-INFINITY), JoinMax, JoinMax));
}
// Sum of (x - centre)^2.
ZIGGURAT_INLINE float RowSquares(const float* x, int64_t n, float centre) {
  const F32 c = Set(centre);
  const auto step = [c](F32 sum, F32 v) ZIGGURAT_LAMBDA { return MulAdd(v - c, v - c, sum); };
  return SumLanes(Tree(x, n, Zero(), step, JoinSum));
}

// y[i] = map(x[i]), with a masked last register.
template <typename Map>
ZIGGURAT_INLINE void MapRow(const float* x, float* y, int64_t n, Map map) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(map(Load(x + i)), y + i);
  const int left = static_cast<int>(n - i);
  if (left > 0) StoreN(map(LoadN(x + i, left)), y + i, left);
}

}  // namespace
}  // namespace ziggurat::cpu::ZIGGURAT_ISA
