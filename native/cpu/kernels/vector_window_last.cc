// Windows over tensors whose channels come last: registers run along the channels, taps are joined in ascending order.
#include "cpu/kernels/vector_math.h"
#include "cpu/kernels/vector_parts.h"
#include "cpu/kernels/vector_tree.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// Taps [begin, end) of a window that begins at `first` and lie inside [0, extent).
struct Taps {
  int64_t begin, end;
};
Taps Inside(int64_t first, int64_t dilation, int64_t taps, int64_t extent) {
  Taps inside{0, taps};
  while (inside.begin < taps && first + inside.begin * dilation < 0) ++inside.begin;
  while (inside.end > inside.begin && first + (inside.end - 1) * dilation >= extent) --inside.end;
  return inside;
}

// Joins the taps of one output pixel; `finish` gets each register.
template <typename Join, typename Finish>
ZIGGURAT_INLINE void JoinPixel(const PoolArgs& args, Taps rows, Taps columns, const float* corner, float* y,
                               const Finish& finish) {
  const int64_t channels = args.channels, column_step = args.dilation_width * args.x_pixel;
  const int64_t row_step = args.dilation_height * args.width * args.x_pixel;
  for (int64_t c = 0; c < channels; c += kLanes) {
    const int left = static_cast<int>(channels - c < kLanes ? channels - c : kLanes);
    F32 joined = Join::Start();
    for (int64_t kh = rows.begin; kh < rows.end; ++kh)
      for (int64_t kw = columns.begin; kw < columns.end; ++kw)
        joined = Join::Do(joined, LoadPart(corner + kh * row_step + kw * column_step + c, left));
    StorePart(finish(joined), y + c, left);
  }
}

struct MaxJoin {
  ZIGGURAT_INLINE F32 Start() { return Set(-__builtin_inff()); }
  ZIGGURAT_INLINE F32 Do(F32 a, F32 b) { return MaxNan(a, b); }
};
struct SumJoin {
  ZIGGURAT_INLINE F32 Start() { return Zero(); }
  ZIGGURAT_INLINE F32 Do(F32 a, F32 b) { return a + b; }
};

// Calls each(rows, columns, corner, y, row, column) for the output pixels of the job.
template <typename Each>
ZIGGURAT_INLINE void ForPixels(const PoolArgs& args, const Each& each) {
  for (int64_t row = args.row_begin; row < args.row_end; ++row) {
    const int64_t top = row * args.stride_height - args.pad_top;
    const Taps rows = Inside(top, args.dilation_height, args.kernel_height, args.height);
    for (int64_t column = 0; column < args.out_width; ++column) {
      const int64_t start = column * args.stride_width - args.pad_left;
      const Taps columns = Inside(start, args.dilation_width, args.kernel_width, args.width);
      each(rows, columns, args.x + (top * args.width + start) * args.x_pixel,
           args.y + (row * args.out_width + column) * args.y_pixel, row, column);
    }
  }
}

}  // namespace

void MaxPoolLast(const PoolArgs& args) {
  ForPixels(args, [&](Taps rows, Taps columns, const float* corner, float* y, int64_t, int64_t) {
    JoinPixel<MaxJoin>(args, rows, columns, corner, y, [](F32 joined) { return joined; });
  });
}

void AveragePoolLast(const PoolArgs& args) {
  ForPixels(args, [&](Taps rows, Taps columns, const float* corner, float* y, int64_t row, int64_t column) {
    const F32 count = Set(args.row_counts[row] * args.column_counts[column]);
    JoinPixel<SumJoin>(args, rows, columns, corner, y, [&](F32 joined) { return joined / count; });
  });
}

void LrnLast(const LrnArgs& args, int64_t first, int64_t last, float* padded) {
  const int64_t before = (args.size - 1) / 2, channels = args.channels;
  const F32 bias = Set(args.bias), slope = Set(args.alpha / static_cast<float>(args.size)), power = Set(-args.beta);
  for (int64_t i = 0; i < LrnLastScratch(args); ++i) padded[i] = 0;
  for (int64_t pixel = first; pixel < last; ++pixel) {
    const float* x = args.x + pixel * channels;
    for (int64_t c = 0; c < channels; ++c) padded[before + c] = x[c];
    for (int64_t c = 0; c < channels; c += kLanes) {
      const int left = static_cast<int>(channels - c < kLanes ? channels - c : kLanes);
      F32 squares = Zero();
      for (int64_t k = 0; k < args.size; ++k) {
        const F32 v = Load(padded + c + k);
        squares = MulAdd(v, v, squares);
      }
      const F32 factor = Exp(power * Log(MulAdd(slope, squares, bias)));
      StorePart(LoadPart(x + c, left) * factor, args.y + pixel * channels + c, left);
    }
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
