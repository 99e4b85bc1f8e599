// Kernels over windows of a plane: pooling, and the one-dimensional passes that resizing is made of. float32.
#pragma once

#include <cstdint>

namespace ziggurat::cpu {

// One plane. Output rows [row_begin, row_end) are written, at y + row * out_width.
struct PoolArgs {
  const float* x;
  float* y;
  int64_t height, width, out_height, out_width;
  int64_t kernel_height, kernel_width, stride_height, stride_width, dilation_height, dilation_width;
  int64_t pad_top, pad_left;
  // Average only. Divisors: windows of output row r hold row_counts[r] * column_counts[c] elements.
  const float* row_counts;
  const float* column_counts;
  float* scratch;  // PoolScratch(args) floats
  int64_t row_begin, row_end;
  // Channels last only: how many, and the floats between two pixels of x and of y.
  int64_t channels, x_pixel, y_pixel;
};

// Positions a row's windows reach over, padding included, and room for whole registers behind them.
inline int64_t PoolScratch(const PoolArgs& args) {
  return (args.out_width - 1) * args.stride_width + (args.kernel_width - 1) * args.dilation_width + 1 + 32;
}

// One pass of a separable resampling: output j is the sum over t < taps of weight[t * out + j] * x[index[t * out + j]],
// added in ascending order of t.
struct ResampleTaps {
  const int32_t* index;
  const float* weight;
  int64_t taps;
  int64_t out;
};

struct WindowKernels {
  void (*max_pool)(const PoolArgs& args);  // hands on NaN; a window of padding alone gives -infinity
  void (*average_pool)(const PoolArgs& args);
  // The same of one image whose channels come last, x [height, width, channels]; no scratch.
  void (*max_pool_last)(const PoolArgs& args);
  void (*average_pool_last)(const PoolArgs& args);
  // Along contiguous memory: `rows` rows of `in` elements become rows of taps.out.
  void (*resample_rows)(const ResampleTaps& taps, const float* x, int64_t in, float* y, int64_t rows);
  // Along strided memory: element j of a column lies at x[j * columns]; y the same. All columns.
  void (*resample_columns)(const ResampleTaps& taps, const float* x, float* y, int64_t columns);
  // resample_rows for an exact doubling with two taps, whose indices (relative to j / 2, clamped to the row) and
  // weights are the same for all even and for all odd j. Same bits as resample_rows. `padded`: in + 4 floats.
  void (*double_rows)(const int32_t offset[4], const float weight[4], const float* x, int64_t in, float* y,
                      int64_t rows, float* padded);
};

}  // namespace ziggurat::cpu
