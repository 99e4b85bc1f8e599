// Convolution as a product: weights [out_channels, K] times patches [K, pixels], k = (channel, kd, kh, kw) ascending.
// Patches are gathered a few panels of pixels and a few blocks of K at a time, so they never leave the caches.
#include "cpu/kernels/matrix_parts.h"
#include "cpu/kernels/matrix_tile.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// 4 panels x 512 x 32 floats = 256 KiB of patches in the second-level cache, met by every tile of weights; a tile's
// 14 x 512 floats = 28 KiB stay in the first while it meets the panels.
constexpr int64_t kPassPanels = 4;
constexpr int64_t kPassK = 4 * kKBlock;

// Pixels of a panel that lie in one output row.
struct Segment {
  int64_t column;  // first, in the panel
  int64_t length;
  int64_t at[3];  // output position of the first
};

// Cuts output pixels [first, first + count) at row ends.
int CutSegments(const ConvShape& s, int64_t first, int64_t count, Segment* segments) {
  int cut = 0;
  for (int64_t column = 0; column < count;) {
    const int64_t pixel = first + column, row = pixel / s.out[2];
    Segment& segment = segments[cut++];
    segment.column = column;
    segment.at[2] = pixel % s.out[2];
    segment.at[1] = row % s.out[1];
    segment.at[0] = row / s.out[1];
    const int64_t rest = s.out[2] - segment.at[2];
    segment.length = rest < count - column ? rest : count - column;
    column += segment.length;
  }
  return cut;
}

ZIGGURAT_INLINE void ZeroRun(float* to, int64_t n) {
  for (; n > 0; n -= kLanes, to += kLanes) StoreN(Zero(), to, n < kLanes ? static_cast<int>(n) : kLanes);
}

// Which of a segment's pixels a tap reads inside the input's row: [begin, end); the rest is padding.
struct Window {
  int64_t begin, end;
};
Window Inside(int64_t first, int64_t stride, int64_t extent, int64_t length) {
  Window w;
  w.begin = first >= 0 ? 0 : (-first + stride - 1) / stride;
  w.end = first >= extent ? 0 : (extent - first + stride - 1) / stride;
  if (w.begin > length) w.begin = length;
  if (w.end > length) w.end = length;
  if (w.end < w.begin) w.end = w.begin;
  return w;
}

// One tap of one segment for rows k of the patches; `from` and `to` advance a channel at a time.
struct TapCopy {
  const float* from;  // the element for pixel 0 of the segment; only those inside the window exist
  int64_t from_step;
  float* to;
  int64_t to_step;
  int64_t channels;
  int64_t stride;
  int64_t length;
  Window window;
};

void CopyTap(const TapCopy& t) {
  const int64_t begin = t.window.begin, n = t.window.end - begin;
  const float* from = t.from;
  float* to = t.to;
  if (t.stride == 1 && n <= kLanes && n == t.length) {  // one whole register or less, no padding: the common short run
    const int count = static_cast<int>(n);
    for (int64_t c = 0; c < t.channels; ++c, from += t.from_step, to += t.to_step)
      StoreN(LoadN(from, count), to, count);
    return;
  }
  for (int64_t c = 0; c < t.channels; ++c, from += t.from_step, to += t.to_step) {
    if (begin > 0) ZeroRun(to, begin);
    if (t.window.end < t.length) ZeroRun(to + t.window.end, t.length - t.window.end);
    if (n <= 0) continue;
    const float* source = from + begin * t.stride;
    float* target = to + begin;
    int64_t i = 0;
    if (t.stride == 1) {
      for (; i + kLanes <= n; i += kLanes) Store(Load(source + i), target + i);
      if (i < n) StoreN(LoadN(source + i, static_cast<int>(n - i)), target + i, static_cast<int>(n - i));
    } else {
      for (; i < n; ++i) target[i] = source[i * t.stride];
    }
  }
}

// Rows [k0, k0 + k) of the patches of one segment. Taps are walked outside, channels inside: what padding a tap meets
// is found once for all channels.
void GatherSegment(const ConvArgs& a, const Segment& segment, int64_t k0, int64_t k, float* panel) {
  const ConvShape& s = a.shape;
  const int64_t taps = s.kernel[0] * s.kernel[1] * s.kernel[2], plane = s.InPixels();
  for (int64_t tap = 0; tap < taps; ++tap) {
    const int64_t first_channel = k0 > tap ? (k0 - tap + taps - 1) / taps : 0;
    const int64_t last_channel = k0 + k > tap ? (k0 + k - tap + taps - 1) / taps : 0;
    if (last_channel <= first_channel) continue;
    const int64_t kw = tap % s.kernel[2], kh = tap / s.kernel[2] % s.kernel[1], kd = tap / s.kernel[2] / s.kernel[1];
    const int64_t d = segment.at[0] * s.stride[0] + kd * s.dilation[0] - s.pad[0];
    const int64_t h = segment.at[1] * s.stride[1] + kh * s.dilation[1] - s.pad[1];
    const int64_t w = segment.at[2] * s.stride[2] + kw * s.dilation[2] - s.pad[2];
    TapCopy copy;
    copy.channels = last_channel - first_channel;
    copy.from_step = plane, copy.to_step = taps * kNr;
    copy.to = panel + (first_channel * taps + tap - k0) * kNr + segment.column;
    copy.stride = s.stride[2], copy.length = segment.length;
    copy.window = Inside(w, s.stride[2], s.in[2], segment.length);
    if (d < 0 || d >= s.in[0] || h < 0 || h >= s.in[1]) copy.window = {0, 0};
    // Where nothing is inside, no address may be formed.
    copy.from = copy.window.end > copy.window.begin ? a.input + first_channel * plane + (d * s.in[1] + h) * s.in[2] + w
                                                    : a.input;
    if (copy.window.end == copy.window.begin) copy.window = {0, 0}, copy.from_step = 0;
    CopyTap(copy);
  }
}

void GatherPanel(const ConvArgs& a, int64_t pixel, int64_t pixels, int64_t k0, int64_t k, float* panel) {
  Segment segments[kNr];
  const int count = CutSegments(a.shape, pixel, pixels, segments);
  for (int i = 0; i < count; ++i) GatherSegment(a, segments[i], k0, k, panel);
  if (pixels < kNr)
    for (int64_t kk = 0; kk < k; ++kk) ZeroRun(panel + kk * kNr + pixels, kNr - pixels);
}

// A 1 x 1 convolution at every pixel reads whole planes: its rows may be taken as one.
ConvShape Flattened(const ConvShape& s) {
  for (int i = 0; i < 3; ++i)
    if (s.kernel[i] != 1 || s.stride[i] != 1 || s.pad[i] != 0 || s.in[i] != s.out[i]) return s;
  ConvShape flat = s;
  flat.in[2] = flat.out[2] = s.InPixels();
  flat.in[0] = flat.in[1] = flat.out[0] = flat.out[1] = 1;
  return flat;
}

// Pixels [pixel, last) of at most kPassPanels panels.
void RunPixels(const ConvArgs& a, int64_t pixel, int64_t last) {
  const int64_t k_all = a.shape.K(), packed_k = RoundUp(k_all, kKBlock), plane = a.shape.OutPixels();
  const Tiling tiling = TileRows(a.shape.out_channels, kMaxMr);
  const int64_t panels = (last - pixel + kNr - 1) / kNr;
  for (int64_t k0 = 0; k0 < k_all; k0 += kPassK) {
    TileArgs tile{};
    tile.b_step = kNr;
    tile.k = k_all - k0 < kPassK ? k_all - k0 : kPassK;
    tile.c_row = plane;
    tile.accumulate = k0 > 0;
    const bool finish = k0 + tile.k == k_all && !a.epilogue.IsIdentity();
    const auto columns = [&](int64_t panel) {
      const int64_t rest = last - pixel - panel * kNr;
      return rest < kNr ? rest : int64_t{kNr};
    };
    for (int64_t panel = 0; panel < panels; ++panel)
      GatherPanel(a, pixel + panel * kNr, columns(panel), k0, tile.k, a.scratch + panel * kPassK * kNr);
    for (int64_t t = a.first_tile; t < a.last_tile; ++t) {
      const int64_t start = TileStart(tiling, t), height = tiling.base + (t < tiling.taller);
      tile.a = a.weights + start * packed_k + height * k0;
      for (int64_t panel = 0; panel < panels; ++panel) {
        const int64_t first = pixel + panel * kNr;
        tile.columns = static_cast<int>(columns(panel));
        tile.b = a.scratch + panel * kPassK * kNr;
        tile.c = a.output + start * plane + first;
        FindTile(height, tile.columns)(tile);
        if (finish) ApplyEpilogue(a.epilogue, tile.c, plane, start, first, height, tile.columns);
      }
    }
  }
}

}  // namespace

int64_t ConvScratch(const ConvShape&) { return kPassPanels * kPassK * kNr; }

void Conv(const ConvArgs& args) {
  ConvArgs a = args;
  a.shape = Flattened(args.shape);
  for (int64_t pixel = a.first_pixel; pixel < a.last_pixel; pixel += kPassPanels * kNr) {
    const int64_t last = pixel + kPassPanels * kNr;
    RunPixels(a, pixel, last < a.last_pixel ? last : a.last_pixel);
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
