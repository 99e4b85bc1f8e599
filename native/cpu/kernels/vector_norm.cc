// Layer and RMS normalisation, moments, and reductions along rows and columns.
#include "cpu/kernels/vector_math.h"
#include "cpu/kernels/vector_parts.h"
#include "cpu/kernels/vector_tree.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// y = (x - mean) * inv * scale + bias.
ZIGGURAT_INLINE void Normalise(const float* x, float* y, const float* scale, const float* bias, int64_t n, float mean,
                               float inv) {
  const F32 m = Set(mean), factor = Set(inv);
  for (int64_t i = 0; i < n; i += kLanes) {
    const int left = static_cast<int>(n - i < kLanes ? n - i : kLanes);
    F32 v = (LoadPart(x + i, left) - m) * factor;
    const F32 b = bias ? LoadPart(bias + i, left) : Zero();
    if (scale)
      v = MulAdd(v, LoadPart(scale + i, left), b);
    else if (bias)
      v = v + b;
    StorePart(v, y + i, left);
  }
}

template <bool centred>
ZIGGURAT_INLINE void NormRows(const NormArgs& args) {
  const int64_t n = args.n;
  const float count = static_cast<float>(n);
  for (int64_t r = 0; r < args.rows; ++r) {
    const float* x = args.x + r * n;
    float* y = args.y + r * n;
    if (args.residual) {
      // The sum is kept where it is asked for, else in y.
      float* sum = args.sum ? args.sum + r * n : y;
      const float* residual = args.residual + r * n;
      for (int64_t i = 0; i < n; i += kLanes) {
        const int left = static_cast<int>(n - i < kLanes ? n - i : kLanes);
        StorePart(LoadPart(x + i, left) + LoadPart(residual + i, left), sum + i, left);
      }
      x = sum;
    }
    const float mean = centred ? RowSum(x, n) / count : 0.0f;
    const float variance = RowSquares(x, n, mean) / count;
    const float inv = 1.0f / __builtin_sqrtf(variance + args.epsilon);
    Normalise(x, y, args.scale, args.bias, n, mean, inv);
    if (args.mean) args.mean[r] = mean;
    if (args.inv_std) args.inv_std[r] = inv;
  }
}

struct SumStep {
  ZIGGURAT_INLINE float Identity() { return 0; }
  ZIGGURAT_INLINE F32 Do(F32 sum, F32 x) { return sum + x; }
  ZIGGURAT_INLINE F32 Join(F32 a, F32 b) { return a + b; }
};
struct SumAbsStep : SumStep {
  ZIGGURAT_INLINE F32 Do(F32 sum, F32 x) { return sum + Abs(x); }
};
struct SumSquareStep : SumStep {
  ZIGGURAT_INLINE F32 Do(F32 sum, F32 x) { return MulAdd(x, x, sum); }
};
struct ProdStep {
  ZIGGURAT_INLINE float Identity() { return 1; }
  ZIGGURAT_INLINE F32 Do(F32 product, F32 x) { return product * x; }
  ZIGGURAT_INLINE F32 Join(F32 a, F32 b) { return a * b; }
};
struct MaxStep {
  ZIGGURAT_INLINE float Identity() { return -INFINITY; }
  ZIGGURAT_INLINE F32 Do(F32 best, F32 x) { return MaxNan(best, x); }
  ZIGGURAT_INLINE F32 Join(F32 a, F32 b) { return MaxNan(a, b); }
};
struct MinStep {
  ZIGGURAT_INLINE float Identity() { return INFINITY; }
  ZIGGURAT_INLINE F32 Do(F32 best, F32 x) { return MinNan(best, x); }
  ZIGGURAT_INLINE F32 Join(F32 a, F32 b) { return MinNan(a, b); }
};

template <typename Op>
ZIGGURAT_INLINE F32 RowTree(const float* x, int64_t n) {
  return Tree(x, n, Set(Op::Identity()), Op::Do, Op::Join);
}

ZIGGURAT_INLINE float ProductOfLanes(F32 a) {
  alignas(64) float lanes[kLanes];
  StoreAligned(a, lanes);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] *= lanes[i + width];
  return lanes[0];
}

// Rows a block: long sums are cut so that rounding errors grow with the number of blocks plus the length of one.
constexpr int64_t kColumnBlock = 128;

// `registers` neighbouring registers of columns at a time, so that a cache line fetched is a cache line used.
template <typename Op, int registers>
ZIGGURAT_INLINE void ColumnStrip(const float* x, float* y, int64_t n, int64_t stride, int last) {
  F32 total[registers];
  for (int c = 0; c < registers; ++c) total[c] = Set(Op::Identity());
  for (int64_t begin = 0; begin < n; begin += kColumnBlock) {
    const int64_t end = begin + kColumnBlock < n ? begin + kColumnBlock : n;
    F32 block[registers];
    for (int c = 0; c < registers; ++c) block[c] = Set(Op::Identity());
    for (int64_t k = begin; k < end; ++k)
      for (int c = 0; c < registers; ++c)
        block[c] = Op::Do(block[c], LoadPart(x + k * stride + c * kLanes, c + 1 < registers ? kLanes : last));
    for (int c = 0; c < registers; ++c) total[c] = begin == 0 ? block[c] : Op::Join(total[c], block[c]);
  }
  for (int c = 0; c < registers; ++c) StorePart(total[c], y + c * kLanes, c + 1 < registers ? kLanes : last);
}

template <typename Op>
void Columns(const float* x, float* y, int64_t n, int64_t stride, int64_t columns) {
  constexpr int kStrip = 4;
  int64_t c = 0;
  for (; c + kStrip * kLanes <= columns; c += kStrip * kLanes) ColumnStrip<Op, kStrip>(x + c, y + c, n, stride, kLanes);
  for (; c < columns; c += kLanes)
    ColumnStrip<Op, 1>(x + c, y + c, n, stride, static_cast<int>(columns - c < kLanes ? columns - c : kLanes));
}

}  // namespace

void LayerNormRows(const NormArgs& args) { NormRows<true>(args); }
void RmsNormRows(const NormArgs& args) { NormRows<false>(args); }

Moments RowMoments(const float* x, int64_t n) {
  const float count = static_cast<float>(n);
  const float mean = RowSum(x, n) / count;
  return {mean, RowSquares(x, n, mean) / count};
}

float ReduceRow(ReduceOp op, const float* x, int64_t n) {
  switch (op) {
    case ReduceOp::kSum:
      return RowSum(x, n);
    case ReduceOp::kProd:
      return ProductOfLanes(RowTree<ProdStep>(x, n));
    case ReduceOp::kMax:
      return RowMax(x, n);
    case ReduceOp::kMin:
      return MinLanes(RowTree<MinStep>(x, n));
    case ReduceOp::kSumAbs:
      return SumLanes(RowTree<SumAbsStep>(x, n));
    case ReduceOp::kSumSquare:
      return SumLanes(RowTree<SumSquareStep>(x, n));
  }
  return 0;
}

void ReduceColumns(ReduceOp op, const float* x, float* y, int64_t n, int64_t stride, int64_t columns) {
  switch (op) {
    case ReduceOp::kSum:
      return Columns<SumStep>(x, y, n, stride, columns);
    case ReduceOp::kProd:
      return Columns<ProdStep>(x, y, n, stride, columns);
    case ReduceOp::kMax:
      return Columns<MaxStep>(x, y, n, stride, columns);
    case ReduceOp::kMin:
      return Columns<MinStep>(x, y, n, stride, columns);
    case ReduceOp::kSumAbs:
      return Columns<SumAbsStep>(x, y, n, stride, columns);
    case ReduceOp::kSumSquare:
      return Columns<SumSquareStep>(x, y, n, stride, columns);
  }
}

void LrnChannels(const LrnArgs& args) {
  // ONNX: channels from c - floor((size - 1) / 2) to c + ceil((size - 1) / 2).
  const int64_t before = (args.size - 1) / 2, after = args.size - 1 - before;
  const F32 bias = Set(args.bias), slope = Set(args.alpha / static_cast<float>(args.size));
  const F32 power = Set(-args.beta);
  for (int64_t c = 0; c < args.channels; ++c) {
    const int64_t first = c - before > 0 ? c - before : 0;
    const int64_t last = c + after < args.channels ? c + after : args.channels - 1;
    for (int64_t i = args.column_begin; i < args.column_end; i += kLanes) {
      const int left = static_cast<int>(args.column_end - i < kLanes ? args.column_end - i : kLanes);
      F32 squares = Zero();
      for (int64_t k = first; k <= last; ++k) {
        const F32 v = LoadPart(args.x + k * args.columns + i, left);
        squares = MulAdd(v, v, squares);
      }
      const F32 base = MulAdd(slope, squares, bias);
      const F32 factor = Exp(power * Log(base));
      StorePart(LoadPart(args.x + c * args.columns + i, left) * factor, args.y + c * args.columns + i, left);
    }
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
