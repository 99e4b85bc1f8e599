// The second half of a transposed convolution: adds each tap's product to where it lands.
#include "cpu/kernels/matrix_parts.h"
#include "cpu/kernels/matrix_tile.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// Positions i in [begin, end) with 0 <= i * stride + shift < extent.
struct Range {
  int64_t begin, end;
};
Range Landing(int64_t positions, int64_t stride, int64_t shift, int64_t extent) {
  Range r;
  r.begin = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
  r.end = shift >= extent ? 0 : (extent - shift + stride - 1) / stride;
  if (r.end > positions) r.end = positions;
  if (r.begin > r.end) r.begin = r.end;
  return r;
}

void AddRow(const float* from, float* to, int64_t n, int64_t stride) {
  if (stride == 1) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) Store(Load(to + i) + Load(from + i), to + i);
    for (; i < n; ++i) to[i] += from[i];
  } else {
    for (int64_t i = 0; i < n; ++i) to[i * stride] += from[i];
  }
}

void FoldTap(const ConvShape& s, int64_t tap, const float* from, float* to) {
  const int64_t kw = tap % s.kernel[2], kh = tap / s.kernel[2] % s.kernel[1], kd = tap / s.kernel[2] / s.kernel[1];
  const int64_t shift_d = kd * s.dilation[0] - s.pad[0], shift_h = kh * s.dilation[1] - s.pad[1];
  const int64_t shift_w = kw * s.dilation[2] - s.pad[2];
  const Range d = Landing(s.in[0], s.stride[0], shift_d, s.out[0]),
              h = Landing(s.in[1], s.stride[1], shift_h, s.out[1]);
  const Range w = Landing(s.in[2], s.stride[2], shift_w, s.out[2]);
  if (w.begin == w.end) return;
  for (int64_t i = d.begin; i < d.end; ++i)
    for (int64_t j = h.begin; j < h.end; ++j) {
      const int64_t out_d = i * s.stride[0] + shift_d, out_h = j * s.stride[1] + shift_h;
      AddRow(from + (i * s.in[1] + j) * s.in[2] + w.begin,
             to + (out_d * s.out[1] + out_h) * s.out[2] + w.begin * s.stride[2] + shift_w, w.end - w.begin,
             s.stride[2]);
    }
}

}  // namespace

void Fold(const FoldArgs& a) {
  const ConvShape& s = a.shape;
  const int64_t taps = s.kernel[0] * s.kernel[1] * s.kernel[2], pixels = s.OutPixels();
  for (int64_t channel = 0; channel < s.out_channels; ++channel) {
    float* out = a.output + channel * pixels;
    for (int64_t i = 0; i < pixels; ++i) out[i] = 0;
    for (int64_t tap = 0; tap < taps; ++tap) FoldTap(s, tap, a.products + (channel * taps + tap) * s.InPixels(), out);
    if (!a.epilogue.IsIdentity()) ApplyEpilogue(a.epilogue, out, pixels, channel, 0, 1, pixels);
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
