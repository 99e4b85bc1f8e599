// Pooling: a window's rows are joined first (whole registers of neighbouring columns), then its columns, at every
// position; of the positions every stride-th is kept. Resampling: plain loops the compiler vectorises.

#include "cpu/kernels/vector_parts.h"
#include "cpu/kernels/vector_tree.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

struct MaxJoin {
  ZIGGURAT_INLINE float Padding() { return -__builtin_inff(); }
  ZIGGURAT_INLINE F32 Do(F32 a, F32 b) { return MaxNan(a, b); }
};
struct SumJoin {
  ZIGGURAT_INLINE float Padding() { return 0; }
  ZIGGURAT_INLINE F32 Do(F32 a, F32 b) { return a + b; }
};

// line[i] = the join of the window's rows at column i - pad_left, for `length` columns.
template <typename Join>
ZIGGURAT_INLINE void JoinRows(const PoolArgs& args, int64_t out_row, float* line, int64_t length) {
  const int64_t top = out_row * args.stride_height - args.pad_top;
  const int64_t begin = args.pad_left < length ? args.pad_left : length;
  const int64_t room = length - begin;
  const int64_t count = args.width < room ? args.width : room;
  for (int64_t i = 0; i < begin; ++i) line[i] = Join::Padding();
  for (int64_t i = begin + count; i < length; ++i) line[i] = Join::Padding();
  bool first = true;
  for (int64_t k = 0; k < args.kernel_height; ++k) {
    const int64_t row = top + k * args.dilation_height;
    if (row < 0 || row >= args.height) continue;
    const float* x = args.x + row * args.width;
    float* to = line + begin;
    for (int64_t i = 0; i < count; i += kLanes) {
      const int left = static_cast<int>(count - i < kLanes ? count - i : kLanes);
      const F32 v = LoadPart(x + i, left);
      StorePart(first ? v : Join::Do(LoadPart(to + i, left), v), to + i, left);
    }
    first = false;
  }
  if (first)
    for (int64_t i = begin; i < begin + count; ++i) line[i] = Join::Padding();
}

// line[i] = the join of line[i + k * dilation] over the kernel's width. Writing behind what is still to be read.
template <typename Join>
ZIGGURAT_INLINE void JoinColumns(const PoolArgs& args, float* line, int64_t positions) {
  for (int64_t i = 0; i < positions; i += kLanes) {
    F32 joined = Load(line + i);
    for (int64_t k = 1; k < args.kernel_width; ++k) joined = Join::Do(joined, Load(line + i + k * args.dilation_width));
    Store(joined, line + i);
  }
}

template <typename Join>
ZIGGURAT_INLINE const float* JoinWindowRow(const PoolArgs& args, int64_t row) {
  const int64_t positions = (args.out_width - 1) * args.stride_width + 1;
  const int64_t length = positions + (args.kernel_width - 1) * args.dilation_width;
  JoinRows<Join>(args, row, args.scratch, length);
  // What whole registers read past the end is stored past the end too, in the scratch's spare room.
  for (int64_t i = length; i < length + 32; ++i) args.scratch[i] = Join::Padding();
  JoinColumns<Join>(args, args.scratch, positions);
  return args.scratch;
}

}  // namespace

void MaxPoolRows(const PoolArgs& args) {
  const int64_t step = args.stride_width;
  for (int64_t r = args.row_begin; r < args.row_end; ++r) {
    const float* line = JoinWindowRow<MaxJoin>(args, r);
    float* y = args.y + r * args.out_width;
    if (step == 1)
      for (int64_t i = 0; i < args.out_width; ++i) y[i] = line[i];
    else if (step == 2)
      for (int64_t i = 0; i < args.out_width; ++i) y[i] = line[2 * i];
    else
      for (int64_t i = 0; i < args.out_width; ++i) y[i] = line[i * step];
  }
}

void AveragePoolRows(const PoolArgs& args) {
  const int64_t step = args.stride_width;
  for (int64_t r = args.row_begin; r < args.row_end; ++r) {
    const float* line = JoinWindowRow<SumJoin>(args, r);
    float* y = args.y + r * args.out_width;
    const float rows = args.row_counts[r];
    for (int64_t i = 0; i < args.out_width; ++i) y[i] = line[i * step] / (rows * args.column_counts[i]);
  }
}

void ResampleRows(const ResampleTaps& taps, const float* x, int64_t in, float* y, int64_t rows) {
  const int64_t out = taps.out;
  for (int64_t r = 0; r < rows; ++r, x += in, y += out) {
    for (int64_t j = 0; j < out; ++j) y[j] = taps.weight[j] * x[taps.index[j]];
    for (int64_t t = 1; t < taps.taps; ++t) {
      const int32_t* index = taps.index + t * out;
      const float* weight = taps.weight + t * out;
#pragma GCC ivdep
      for (int64_t j = 0; j < out; ++j) y[j] = y[j] + weight[j] * x[index[j]];
    }
  }
}

void ResampleColumns(const ResampleTaps& taps, const float* x, float* y, int64_t columns) {
  for (int64_t j = 0; j < taps.out; ++j, y += columns) {
    const float* first = x + taps.index[j] * columns;
    const float w0 = taps.weight[j];
    if (taps.taps == 1) {
      for (int64_t c = 0; c < columns; ++c) y[c] = w0 * first[c];
      continue;
    }
    const float* second = x + taps.index[taps.out + j] * columns;
    const float w1 = taps.weight[taps.out + j];
#pragma GCC ivdep
    for (int64_t c = 0; c < columns; ++c) y[c] = w0 * first[c] + w1 * second[c];
    for (int64_t t = 2; t < taps.taps; ++t) {
      const float* next = x + taps.index[t * taps.out + j] * columns;
      const float w = taps.weight[t * taps.out + j];
#pragma GCC ivdep
      for (int64_t c = 0; c < columns; ++c) y[c] = y[c] + w * next[c];
    }
  }
}

void DoubleRows(const int32_t offset[4], const float weight[4], const float* x, int64_t in, float* y, int64_t rows,
                float* padded) {
  // Two copies of the edge on both sides, so that an offset of -2 to 2 needs no clamping.
  const float *a = padded + 2 + offset[0], *b = padded + 2 + offset[1];
  const float *c = padded + 2 + offset[2], *d = padded + 2 + offset[3];
  const float wa = weight[0], wb = weight[1], wc = weight[2], wd = weight[3];
  for (int64_t r = 0; r < rows; ++r, x += in, y += 2 * in) {
    padded[0] = padded[1] = x[0];
    for (int64_t i = 0; i < in; ++i) padded[i + 2] = x[i];
    padded[in + 2] = padded[in + 3] = x[in - 1];
#pragma GCC ivdep
    for (int64_t i = 0; i < in; ++i) {
      y[2 * i] = wa * a[i] + wb * b[i];
      y[2 * i + 1] = wc * c[i] + wd * d[i];
    }
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
