// Depthwise convolution: each channel by itself.
//
// A channel's plane is first copied with its padding, its columns sorted by their remainder modulo the stride. After
// that every tap reads contiguous values, whatever stride, dilation and padding are, and there are no edges.
#include "cpu/kernels/matrix_parts.h"
#include "cpu/kernels/matrix_tile.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

constexpr int kVectors = 4;  // independent sums: with two ports and 4 cycles of latency half of what hides it all

struct PaddedPlane {
  int64_t rows[2];  // padded depth and height
  int64_t phase;    // floats of one remainder's columns, vectors may read kVectors * kLanes past the last
  int64_t row;      // floats of a row: stride * phase
};

PaddedPlane PlaneOf(const ConvShape& s) {
  const auto extent = [&](int i) { return (s.out[i] - 1) * s.stride[i] + (s.kernel[i] - 1) * s.dilation[i] + 1; };
  PaddedPlane plane;
  plane.rows[0] = extent(0), plane.rows[1] = extent(1);
  plane.phase = (extent(2) + s.stride[2] - 1) / s.stride[2];
  plane.row = plane.phase * s.stride[2];
  return plane;
}

int64_t PlaneFloats(const PaddedPlane& plane) { return plane.rows[0] * plane.rows[1] * plane.row; }

void CopyPlane(const ConvShape& s, const PaddedPlane& plane, const float* from, float* to) {
  const int64_t stride = s.stride[2], columns = plane.row;
  for (int64_t d = 0; d < plane.rows[0]; ++d)
    for (int64_t h = 0; h < plane.rows[1]; ++h, to += plane.row) {
      const int64_t in_d = d - s.pad[0], in_h = h - s.pad[1];
      const bool inside = in_d >= 0 && in_d < s.in[0] && in_h >= 0 && in_h < s.in[1];
      const float* row = inside ? from + (in_d * s.in[1] + in_h) * s.in[2] : nullptr;
      const int64_t first = s.pad[2] < columns ? s.pad[2] : columns;
      const int64_t last = first + s.in[2] < columns ? first + s.in[2] : columns;
      if (!inside) {
        for (int64_t c = 0; c < columns; ++c) to[c] = 0;
      } else if (stride == 1) {
        for (int64_t c = 0; c < first; ++c) to[c] = 0;
        int64_t c = first;
        for (; c + kLanes <= last; c += kLanes) Store(Load(row + c - first), to + c);
        for (; c < last; ++c) to[c] = row[c - first];
        for (; c < columns; ++c) to[c] = 0;
      } else {
        for (int64_t phase = 0; phase < stride; ++phase)
          for (int64_t i = 0, c = phase; i < plane.phase; ++i, c += stride)
            to[phase * plane.phase + i] = c >= first && c < last ? row[c - first] : 0.0f;
      }
    }
}

// kCount registers of one output row.
template <int kCount>
ZIGGURAT_INLINE void RowPart(const ConvShape& s, const PaddedPlane& plane, const float* weights, const float* at,
                             float* out, int64_t left) {
  F32 total[kCount], sum[kCount];
  int64_t in_block = 0;
  bool first_block = true;
#pragma GCC unroll 4
  for (int v = 0; v < kCount; ++v) sum[v] = Zero(), total[v] = Zero();
  for (int64_t kd = 0; kd < s.kernel[0]; ++kd)
    for (int64_t kh = 0; kh < s.kernel[1]; ++kh) {
      const float* row = at + (kd * s.dilation[0] * plane.rows[1] + kh * s.dilation[1]) * plane.row;
      for (int64_t kw = 0, c = 0; kw < s.kernel[2]; ++kw, c += s.dilation[2], ++weights) {
        if (in_block == kKBlock) {
#pragma GCC unroll 4
          for (int v = 0; v < kCount; ++v) total[v] = first_block ? sum[v] : total[v] + sum[v], sum[v] = Zero();
          first_block = false, in_block = 0;
        }
        ++in_block;
        const float* x = s.stride[2] == 1 ? row + c : row + c % s.stride[2] * plane.phase + c / s.stride[2];
        const F32 weight = Set(*weights);
#pragma GCC unroll 4
        for (int v = 0; v < kCount; ++v) sum[v] = MulAdd(weight, Load(x + v * kLanes), sum[v]);
      }
    }
#pragma GCC unroll 4
  for (int v = 0; v < kCount; ++v, out += kLanes, left -= kLanes) {
    const F32 y = first_block ? sum[v] : total[v] + sum[v];
    if (left >= kLanes)
      Store(y, out);
    else if (left > 0)
      StoreN(y, out, static_cast<int>(left));
  }
}

void OutputRow(const ConvShape& s, const PaddedPlane& plane, const float* weights, const float* at, float* out) {
  int64_t column = 0;
  for (; s.out[2] - column > 2 * kLanes; column += kVectors * kLanes)
    RowPart<kVectors>(s, plane, weights, at + column, out + column, s.out[2] - column);
  for (; column < s.out[2]; column += kLanes)
    RowPart<1>(s, plane, weights, at + column, out + column, s.out[2] - column);
}

}  // namespace

int64_t DepthwiseScratch(const ConvShape& shape) { return PlaneFloats(PlaneOf(shape)) + kVectors * kLanes; }

void Depthwise(const ConvArgs& a) {
  const ConvShape& s = a.shape;
  const PaddedPlane plane = PlaneOf(s);
  const int64_t taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  for (int64_t i = PlaneFloats(plane); i < PlaneFloats(plane) + kVectors * kLanes; ++i) a.scratch[i] = 0;
  for (int64_t channel = a.first_tile; channel < a.last_tile; ++channel) {
    CopyPlane(s, plane, a.input + channel * s.InPixels(), a.scratch);
    float* out = a.output + channel * s.OutPixels();
    for (int64_t d = 0; d < s.out[0]; ++d)
      for (int64_t h = 0; h < s.out[1]; ++h)
        OutputRow(s, plane, a.weights + channel * taps,
                  a.scratch + (d * s.stride[0] * plane.rows[1] + h * s.stride[1]) * plane.row,
                  out + (d * s.out[1] + h) * s.out[2]);
    if (!a.epilogue.IsIdentity()) ApplyEpilogue(a.epilogue, out, s.OutPixels(), channel, 0, 1, s.OutPixels());
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
