// Depthwise convolution of channels-last tensors: registers run along the channels, several pixels of a row share each
// tap's weights. Nothing is copied: pixels at the border look at each tap by itself.
#include "cpu/kernels/matrix_parts.h"
#include "cpu/kernels/matrix_tile.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// Independent sums: kPixels x kVectors = 8 hide the latency of 4 cycles on two ports.
constexpr int kPixels = 4;
constexpr int kVectors = 2;
// Channels that one row of pixels is walked for: the weights of 9 taps (9 KiB) and of three input rows stay close.
constexpr int64_t kChannels = 256;

// One row of output pixels.
struct Line {
  const DepthwiseLastArgs& a;
  const float* image;
  int64_t d, h;  // where the windows begin
  float* output;
};

// Adds one row of taps at channel `c`, for pixels from `column` on. kPixels > 1: all taps lie inside the row.
template <int pixels, int vectors, bool whole>
ZIGGURAT_INLINE void AddTaps(const Line& line, const float* row, const float* weights, int64_t column, int64_t c, int n,
                             F32 (&sum)[pixels][vectors]) {
  const ConvShape& s = line.a.shape;
  const int64_t channels = line.a.channels, pixel = line.a.pixel, step = s.stride[2] * pixel;
  int64_t w = column * s.stride[2] - s.pad[2];
  for (int64_t kw = 0; kw < s.kernel[2]; ++kw, w += s.dilation[2], weights += channels) {
    F32 weight[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) weight[v] = whole ? Load(weights + v * kLanes) : LoadN(weights, n);
    if (!row || (pixels == 1 && (w < 0 || w >= s.in[2]))) {
#pragma GCC unroll 4
      for (int p = 0; p < pixels; ++p)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) sum[p][v] = MulAdd(weight[v], Zero(), sum[p][v]);
      continue;
    }
    const float* x = row + w * pixel + c;
#pragma GCC unroll 4
    for (int p = 0; p < pixels; ++p)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v)
        sum[p][v] = MulAdd(weight[v], whole ? Load(x + p * step + v * kLanes) : LoadN(x + p * step, n), sum[p][v]);
  }
}

template <int pixels, int vectors, bool whole>
ZIGGURAT_INLINE void Block(const Line& line, int64_t column, int64_t c, int n) {
  const ConvShape& s = line.a.shape;
  const int64_t channels = line.a.channels;
  F32 sum[pixels][vectors];
#pragma GCC unroll 4
  for (int p = 0; p < pixels; ++p)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sum[p][v] = Zero();
  const float* weights = line.a.weights + c;
  for (int64_t kd = 0, d = line.d; kd < s.kernel[0]; ++kd, d += s.dilation[0])
    for (int64_t kh = 0, h = line.h; kh < s.kernel[1]; ++kh, h += s.dilation[1], weights += s.kernel[2] * channels) {
      const bool inside = d >= 0 && d < s.in[0] && h >= 0 && h < s.in[1];
      const float* row = inside ? line.image + (d * s.in[1] + h) * s.in[2] * line.a.pixel : nullptr;
      AddTaps<pixels, vectors, whole>(line, row, weights, column, c, n, sum);
    }
  const int64_t out_pixel = line.a.out_pixel;
  float* out = line.output + column * out_pixel + c;
#pragma GCC unroll 4
  for (int p = 0; p < pixels; ++p)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v)
      whole ? Store(sum[p][v], out + p * out_pixel + v * kLanes) : StoreN(sum[p][v], out + p * out_pixel, n);
}

// One register of one pixel whose taps are more than a block of K.
void LongBlock(const Line& line, int64_t column, int64_t c, int n) {
  const ConvShape& s = line.a.shape;
  const int64_t channels = line.a.channels;
  F32 total = Zero(), sum = Zero();
  int64_t tap = 0;
  for (int64_t kd = 0; kd < s.kernel[0]; ++kd)
    for (int64_t kh = 0; kh < s.kernel[1]; ++kh)
      for (int64_t kw = 0; kw < s.kernel[2]; ++kw, ++tap) {
        if (tap > 0 && tap % kKBlock == 0) total = tap == kKBlock ? sum : total + sum, sum = Zero();
        const int64_t d = line.d + kd * s.dilation[0], h = line.h + kh * s.dilation[1];
        const int64_t w = column * s.stride[2] - s.pad[2] + kw * s.dilation[2];
        const bool inside = d >= 0 && d < s.in[0] && h >= 0 && h < s.in[1] && w >= 0 && w < s.in[2];
        const F32 x = inside ? LoadN(line.image + ((d * s.in[1] + h) * s.in[2] + w) * line.a.pixel + c, n) : Zero();
        sum = MulAdd(LoadN(line.a.weights + tap * channels + c, n), x, sum);
      }
  StoreN(tap > kKBlock ? total + sum : sum, line.output + column * line.a.out_pixel + c, n);
}

template <int pixels>
void Columns(const Line& line, int64_t column, int64_t first, int64_t last) {
  constexpr int vectors = pixels == 1 ? 2 * kVectors : kVectors;
  int64_t c = first;
  for (; c + vectors * kLanes <= last; c += vectors * kLanes) Block<pixels, vectors, true>(line, column, c, kLanes);
  for (; c + kLanes <= last; c += kLanes) Block<pixels, 1, true>(line, column, c, kLanes);
  if (c < last) Block<pixels, 1, false>(line, column, c, static_cast<int>(last - c));
}

constexpr int kBlockPixels = 4;

// kBlockPixels pixels of one register of channels, from `column` on. A value of X is loaded once for all windows of the
// block: 4 pixels of 3 x 3 taps are 18 loads, beside 9 of weights, for 36 operations, of which two a cycle can be done.
// kEdge: columns before `low` and from `high` on, counted from the first that the windows meet, are padding.
template <int kTaps, int kStride, bool kWhole, bool kEdge>
ZIGGURAT_INLINE void Windows(const Line& line, int64_t column, int low, int high, int64_t c, int n,
                             const TileEnd& end) {
  constexpr int kColumns = (kBlockPixels - 1) * kStride + kTaps;
  const DepthwiseLastArgs& a = line.a;
  const ConvShape& s = a.shape;
  const auto load = [n](const float* p) { return kWhole ? Load(p) : LoadN(p, n); };
  const int64_t w = column * kStride - s.pad[2];
  F32 sum[kBlockPixels];
#pragma GCC unroll 4
  for (int p = 0; p < kBlockPixels; ++p) sum[p] = Zero();
  const float* weights = a.weights + c;
  for (int kh = 0; kh < kTaps; ++kh, weights += kTaps * a.channels) {
    const int64_t h = line.h + kh;
    const bool inside = h >= 0 && h < s.in[1];
    const float* row = line.image + (inside ? h * s.in[2] * a.pixel : 0);
    F32 x[kColumns];
#pragma GCC unroll 16
    for (int j = 0; j < kColumns; ++j)
      x[j] = !inside || (kEdge && (j < low || j >= high)) ? Zero() : load(row + ((w + j) * a.pixel + c));
#pragma GCC unroll 8
    for (int kw = 0; kw < kTaps; ++kw) {
      const F32 weight = load(weights + kw * a.channels);
#pragma GCC unroll 4
      for (int p = 0; p < kBlockPixels; ++p) sum[p] = MulAdd(weight, x[p * kStride + kw], sum[p]);
    }
  }
  float* out = line.output + column * a.out_pixel + c;
  const F32 bias = end.applies && end.bias ? load(end.bias + c) : Set(-0.0f);
#pragma GCC unroll 4
  for (int p = 0; p < kBlockPixels; ++p) {
    const F32 y = end.applies ? Clamp(sum[p] + bias, Set(end.low), Set(end.high)) : sum[p];
    kWhole ? Store(y, out + p * a.out_pixel) : StoreN(y, out + p * a.out_pixel, n);
  }
}

// Channels [first, last) of a line whose windows are kTaps x kTaps. The last block may compute pixels once more.
template <int kTaps, int kStride>
void WindowLine(const Line& line, int64_t first, int64_t last, const TileEnd& end) {
  constexpr int kColumns = (kBlockPixels - 1) * kStride + kTaps;
  const ConvShape& s = line.a.shape;
  for (int64_t at = 0; at < s.out[2]; at += kBlockPixels) {
    const int64_t column = at + kBlockPixels <= s.out[2] ? at : s.out[2] - kBlockPixels;
    const int64_t w = column * kStride - s.pad[2];
    const auto cut = [](int64_t j) { return static_cast<int>(j < 0 ? 0 : j < kColumns ? j : int64_t{kColumns}); };
    const int low = cut(-w), high = cut(s.in[2] - w);
    int64_t c = first;
    for (; c + kLanes <= last; c += kLanes)
      low > 0 || high < kColumns ? Windows<kTaps, kStride, true, true>(line, column, low, high, c, kLanes, end)
                                 : Windows<kTaps, kStride, true, false>(line, column, low, high, c, kLanes, end);
    if (c < last) Windows<kTaps, kStride, false, true>(line, column, low, high, c, static_cast<int>(last - c), end);
  }
}

using LineFn = void (*)(const Line& line, int64_t first, int64_t last, const TileEnd& end);

// The kernel for the windows of most nets, or null.
LineFn FindWindowLine(const ConvShape& s) {
  const int64_t taps = s.kernel[2], stride = s.stride[2];
  if (s.kernel[0] != 1 || s.kernel[1] != taps || s.dilation[1] != 1 || s.dilation[2] != 1) return nullptr;
  if (s.out[2] < kBlockPixels || s.pad[0] != 0 || s.in[0] != 1 || s.out[0] != 1) return nullptr;
  if (taps == 3) return stride == 1 ? &WindowLine<3, 1> : stride == 2 ? &WindowLine<3, 2> : nullptr;
  if (taps == 5) return stride == 1 ? &WindowLine<5, 1> : stride == 2 ? &WindowLine<5, 2> : nullptr;
  return nullptr;
}

// Channels [first, last) of a whole line.
void RunLine(const Line& line, int64_t first, int64_t last) {
  const ConvShape& s = line.a.shape;
  if (s.kernel[0] * s.kernel[1] * s.kernel[2] > kKBlock) {
    for (int64_t column = 0; column < s.out[2]; ++column)
      for (int64_t c = first; c < last; c += kLanes)
        LongBlock(line, column, c, last - c < kLanes ? static_cast<int>(last - c) : kLanes);
    return;
  }
  // Columns whose taps are all inside the row: [begin, end).
  const int64_t reach = (s.kernel[2] - 1) * s.dilation[2] - s.pad[2], room = s.in[2] - 1 - reach;
  const int64_t begin = (s.pad[2] + s.stride[2] - 1) / s.stride[2];
  const int64_t end = room < 0 ? 0 : room / s.stride[2] + 1 < s.out[2] ? room / s.stride[2] + 1 : s.out[2];
  for (int64_t column = 0; column < s.out[2];) {
    if (column >= begin && column + kPixels <= end) {
      Columns<kPixels>(line, column, first, last);
      column += kPixels;
    } else if (column >= begin && column + 2 <= end) {
      Columns<2>(line, column, first, last);
      column += 2;
    } else {
      Columns<1>(line, column, first, last);
      ++column;
    }
  }
}

}  // namespace

void DepthwiseLast(const DepthwiseLastArgs& a) {
  const ConvShape& s = a.shape;
  const LineFn windows = FindWindowLine(s);
  TileEnd end;
  if (windows && !a.epilogue.residual && !a.epilogue.IsIdentity() && EndsInTile(a.epilogue))
    end = EndOf(a.epilogue, 0, 0);
  for (int64_t row = a.first_line; row < a.last_line; ++row) {
    const int64_t lines = s.out[0] * s.out[1], pixel = row * s.out[2];
    const Line line = {a, a.input + row / lines * s.InPixels() * a.pixel,
                       row / s.out[1] % s.out[0] * s.stride[0] - s.pad[0], row % s.out[1] * s.stride[1] - s.pad[1],
                       a.output + pixel * a.out_pixel};
    for (int64_t c = a.first_channel; c < a.last_channel; c += kChannels) {
      const int64_t last = c + kChannels < a.last_channel ? c + kChannels : a.last_channel;
      windows ? windows(line, c, last, end) : RunLine(line, c, last);
      if (!a.epilogue.IsIdentity() && !end.applies)
        ApplyEpilogue(a.epilogue, line.output + c, a.out_pixel, pixel, c, s.out[2], last - c);
    }
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
