// Softmax and log-softmax, along rows and along columns.
#include "cpu/kernels/vector_softmax.h"

#include "cpu/kernels/vector_parts.h"
#include "cpu/kernels/vector_tree.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// The largest number of the row; of NaN alone, minus infinity.
ZIGGURAT_INLINE float RowMost(const float* x, int64_t n) {
  const auto rise = [](F32 most, F32 v) ZIGGURAT_LAMBDA { return Rise(v, most); };
  return MaxLanes(Tree(x, n, Set(-INFINITY), rise, rise));
}

// Stores e^(x - max) and returns its sum, by the row tree.
ZIGGURAT_INLINE float ExpRow(const float* x, float* y, int64_t n, float max) {
  const F32 m = Set(max);
  F32 chains[kChains] = {Zero(), Zero(), Zero(), Zero()};
  int64_t i = 0;
  for (; i + kChains * kLanes <= n; i += kChains * kLanes)
    for (int c = 0; c < kChains; ++c) {
      const F32 e = ExpOfNegative(Load(x + i + c * kLanes) - m);
      Store(e, y + i + c * kLanes);
      chains[c] = chains[c] + e;
    }
  for (int c = 0; c < kChains && i < n; ++c, i += kLanes) {
    const int left = static_cast<int>(n - i < kLanes ? n - i : kLanes);
    const F32 e = ExpOfNegative(LoadPart(x + i, left) - m);
    StorePart(e, y + i, left);
    chains[c] = Select(FirstN(left), chains[c] + e, chains[c]);
  }
  return SumLanes((chains[0] + chains[1]) + (chains[2] + chains[3]));
}

ZIGGURAT_INLINE float SumExpRow(const float* x, int64_t n, float max) {
  const F32 m = Set(max);
  const auto step = [m](F32 sum, F32 v) ZIGGURAT_LAMBDA { return sum + Exp(v - m); };
  return SumLanes(Tree(x, n, Zero(), step, JoinSum));
}

ZIGGURAT_INLINE float LogOf(float x) {
  alignas(64) float lanes[kLanes];
  StoreAligned(Log(Set(x)), lanes);
  return lanes[0];
}

// One register of columns; `left` of its lanes exist.
ZIGGURAT_INLINE void SoftmaxColumn(const float* x, float* y, int64_t n, int64_t stride, int left, bool log) {
  F32 max = Set(-INFINITY), sum = Zero();
  for (int64_t k = 0; k < n; ++k) max = Max(max, LoadPart(x + k * stride, left));
  if (log) {
    for (int64_t k = 0; k < n; ++k) sum = sum + Exp(LoadPart(x + k * stride, left) - max);
    const F32 shift = Log(sum);
    for (int64_t k = 0; k < n; ++k) StorePart(LoadPart(x + k * stride, left) - max - shift, y + k * stride, left);
    return;
  }
  for (int64_t k = 0; k < n; ++k) {
    const F32 e = Exp(LoadPart(x + k * stride, left) - max);
    StorePart(e, y + k * stride, left);
    sum = sum + e;
  }
  const F32 scale = Set(1.0f) / sum;
  for (int64_t k = 0; k < n; ++k) StorePart(LoadPart(y + k * stride, left) * scale, y + k * stride, left);
}

template <bool log>
void Columns(const float* x, float* y, int64_t n, int64_t stride, int64_t columns) {
  for (int64_t c = 0; c < columns; c += kLanes)
    SoftmaxColumn(x + c, y + c, n, stride, static_cast<int>(columns - c < kLanes ? columns - c : kLanes), log);
}

}  // namespace

void SoftmaxRows(const float* x, float* y, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    const float sum = ExpRow(x, y, n, RowMost(x, n));
    const F32 scale = Set(1.0f / sum);
    MapRow(y, y, n, [scale](F32 v) ZIGGURAT_LAMBDA { return v * scale; });
  }
}

void LogSoftmaxRows(const float* x, float* y, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    const float max = RowMax(x, n);
    const F32 m = Set(max), shift = Set(LogOf(SumExpRow(x, n, max)));
    MapRow(x, y, n, [m, shift](F32 v) ZIGGURAT_LAMBDA { return v - m - shift; });
  }
}

void SoftmaxColumns(const float* x, float* y, int64_t n, int64_t stride, int64_t columns) {
  Columns<false>(x, y, n, stride, columns);
}
void LogSoftmaxColumns(const float* x, float* y, int64_t n, int64_t stride, int64_t columns) {
  Columns<true>(x, y, n, stride, columns);
}

float LogSumExpRow(const float* x, int64_t n) {
  const float max = RowMax(x, n);
  // Rows of -inf alone, or with +inf, are their own answer; subtracting would make NaN of them.
  if (max == -INFINITY || max == INFINITY) return max;
  return max + LogOf(SumExpRow(x, n, max));
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
