// The general convolution of channels-last tensors: patches are copied into tiles of A a pass at a time, or read where
// they lie, and multiplied by panels of weights.
#include "cpu/kernels/matrix_conv_last.h"

#include <cstring>

#include "cpu/kernels/matrix_parts.h"
#include "cpu/kernels/matrix_tile.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// Rows of a pass: 140 x kGemmPassK floats stay in a core's second-level cache while they meet every panel.
constexpr int64_t kPassRows = 144 / kMaxMr * kMaxMr;
constexpr int64_t kPassK = kGemmPassK;

// Copies with whole registers only: the last one overlaps the one before it.
template <int64_t kStep>
ZIGGURAT_INLINE void CopyOverlapping(const float* from, float* to, int64_t n) {
  for (int64_t i = 0; i + kStep <= n; i += kStep) std::memcpy(to + i, from + i, kStep * sizeof(float));
  if (n % kStep) std::memcpy(to + n - kStep, from + n - kStep, kStep * sizeof(float));
}
ZIGGURAT_INLINE void Copy(const float* from, float* to, int64_t n) {
  if (n >= 4 * kLanes) return CopyOverlapping<kLanes>(from, to, n);
  if (n >= 8) return CopyOverlapping<8>(from, to, n);
  if (n >= 4) return CopyOverlapping<4>(from, to, n);
  for (int64_t i = 0; i < n; ++i) to[i] = from[i];
}
ZIGGURAT_INLINE void Clear(float* to, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(Zero(), to + i);
  for (; i < n; ++i) to[i] = 0;
}

// One row of a packed tile, written in order: blocks of kKBlock values lie `step` apart.
class RowWriter {
 public:
  RowWriter(float* to, int64_t step, int64_t values) : left(values), to_(to), step_(step) {}

  int64_t left;  // values of the row still to come

  void Put(const float* from, int64_t n) {
    for (int64_t count; n > 0; from += count, n -= count) Copy(from, to_, count = Room(n)), Move(count);
  }
  void PutZeros(int64_t n) {
    for (int64_t count; n > 0; n -= count) Clear(to_, count = Room(n)), Move(count);
  }

 private:
  int64_t Room(int64_t n) {
    if (room_ == 0) to_ += step_ - kKBlock, room_ = kKBlock;
    return n < room_ ? n : room_;
  }
  void Move(int64_t n) { to_ += n, room_ -= n, left -= n; }

  float* to_;
  int64_t step_, room_ = kKBlock;
};

// Where the window of an output pixel begins. Pixels are walked in order: a division takes as long as a short run.
struct Corner {
  const float* image;
  int64_t at[3];   // of the window in the input
  int64_t out[3];  // of the pixel in the output

  Corner(const ConvLastArgs& a, int64_t row) {
    const ConvShape& s = a.shape;
    const int64_t pixels = s.OutPixels(), line = row / s.out[2];
    image = a.input + row / pixels * s.InPixels() * a.pixel;
    out[2] = row % s.out[2], out[1] = line % s.out[1], out[0] = line / s.out[1] % s.out[0];
    for (int i = 0; i < 3; ++i) at[i] = out[i] * s.stride[i] - s.pad[i];
  }
  void Advance(const ConvLastArgs& a) {
    const ConvShape& s = a.shape;
    for (int i = 2; i >= 0; --i) {
      at[i] += s.stride[i];
      if (++out[i] < s.out[i]) return;
      out[i] = 0, at[i] = -s.pad[i];
    }
    image += s.InPixels() * a.pixel;
  }
  // The pixel of the image where the window would begin if there were no borders.
  int64_t Window(const ConvShape& s) const { return (at[0] * s.in[1] + at[1]) * s.in[2] + at[2]; }
  bool WindowLiesInside(const ConvShape& s) const {
    bool inside = true;
    for (int i = 0; i < 3; ++i) inside &= at[i] >= 0 && at[i] + (s.kernel[i] - 1) * s.dilation[i] < s.in[i];
    return inside;
  }
};

// A patch as runs of what lies side by side: the channels of a tap or, where neighbouring taps read neighbouring pixels
// of this group alone, those of a whole row of taps.
struct Runs {
  bool joined;
  int64_t across, down, length;  // runs in a row of taps, rows in a plane of taps, values of a run
  int64_t step[3];               // floats of X from a run to the next in each direction of taps

  explicit Runs(const ConvLastArgs& a) {
    const ConvShape& s = a.shape;
    joined = s.dilation[2] == 1 && a.pixel == s.channels;
    across = joined ? 1 : s.kernel[2], down = s.kernel[1], length = s.channels * (joined ? s.kernel[2] : 1);
    step[2] = s.dilation[2] * a.pixel;
    step[1] = s.dilation[1] * s.in[2] * a.pixel;
    step[0] = s.dilation[0] * s.in[1] * s.in[2] * a.pixel;
  }
};
struct RunPlace {
  int64_t d, h, w;  // of the run's first tap
  int64_t begin;    // values of the run before

  RunPlace(const Runs& runs, int64_t k) {
    const int64_t run = k / runs.length, line = run / runs.across;
    begin = k % runs.length, w = run % runs.across, h = line % runs.down, d = line / runs.down;
  }
  void Advance(const Runs& runs) {
    begin = 0;
    if (++w < runs.across) return;
    w = 0;
    if (++h < runs.down) return;
    h = 0, ++d;
  }
};

// Values of the patch at a corner, from `place` on, as many as the writer has left.
ZIGGURAT_INLINE void PackRow(const ConvLastArgs& a, const Runs& runs, const Corner& corner, RunPlace place,
                             RowWriter writer) {
  const ConvShape& s = a.shape;
  const int64_t window = corner.Window(s) * a.pixel;
  const bool inside = corner.WindowLiesInside(s);
  for (; writer.left > 0; place.Advance(runs)) {
    const int64_t begin = place.begin, rest = runs.length - begin, n = rest < writer.left ? rest : writer.left;
    const int64_t from = window + place.d * runs.step[0] + place.h * runs.step[1] + place.w * runs.step[2];
    if (inside) {
      writer.Put(corner.image + (from + begin), n);
      continue;
    }
    const int64_t d = corner.at[0] + place.d * s.dilation[0], h = corner.at[1] + place.h * s.dilation[1];
    const int64_t w = corner.at[2] + place.w * s.dilation[2];
    // Values of the run that lie inside the input's row, [low, high), cut to [begin, begin + n).
    const auto cut = [&](int64_t value) { return value < begin ? begin : value > begin + n ? begin + n : value; };
    const bool crosses = d >= 0 && d < s.in[0] && h >= 0 && h < s.in[1] && w < s.in[2];
    const int64_t low = cut(-w * s.channels);
    const int64_t high = !crosses ? low : runs.joined ? cut((s.in[2] - w) * s.channels) : begin + n;
    if (high <= low) {
      writer.PutZeros(n);
      continue;
    }
    writer.PutZeros(low - begin);
    writer.Put(corner.image + (from + low), high - low);
    writer.PutZeros(begin + n - high);
  }
}

// Runs up to this length are read where they lie as long as no border cuts them: a copy of many short runs would take
// as long as the product of the few columns that layers with few channels have.
constexpr int64_t kShortRun = 32;

// Where the patches of `height` pixels begin in X, if the tile can read them there.
const float* WindowsInPlace(const ConvLastArgs& a, const Runs& runs, const Corner& corner, int64_t height) {
  const ConvShape& s = a.shape;
  if (!runs.joined || s.kernel[0] != 1 || runs.length > kShortRun || corner.out[2] + height > s.out[2]) return nullptr;
  const int64_t last = corner.at[2] + (height - 1) * s.stride[2];
  if (!corner.WindowLiesInside(s) || last + s.kernel[2] > s.in[2]) return nullptr;
  return corner.image + corner.Window(s) * a.pixel;
}

// Tiles [first, last) of a tiling whose row 0 is output pixel `row0`, values [k0, k0 + k). With `windows`, tiles that
// can be read in place are not packed, and stand there; the others are null.
void PackTiles(const ConvLastArgs& a, const Tiling& tiling, int64_t first, int64_t last, int64_t row0, int64_t k0,
               int64_t k, float* packed, const float** windows = nullptr) {
  if (first == last) return;
  const Runs runs(a);
  const RunPlace place(runs, k0);
  Corner corner(a, row0 + TileStart(tiling, first));
  for (int64_t t = first; t < last; ++t) {
    const int64_t height = tiling.base + (t < tiling.taller);
    float* tile = packed + TileStart(tiling, t) * RoundUp(k, kKBlock);
    if (windows && (windows[t] = WindowsInPlace(a, runs, corner, height))) {
      windows[t] += place.h * runs.step[1] + place.begin;
      for (int64_t i = 0; i < height; ++i) corner.Advance(a);
      continue;
    }
    for (int64_t i = 0; i < height; ++i, corner.Advance(a))
      PackRow(a, runs, corner, place, RowWriter(tile + i * kKBlock, height * kKBlock, k));
  }
}

bool ReadsInPlace(const ConvShape& s, int64_t) {
  for (int i = 0; i < 3; ++i)
    if (s.kernel[i] != 1 || s.stride[i] != 1 || s.pad[i] != 0 || s.in[i] != s.out[i]) return false;
  return true;
}

// A of one pass: packed tiles, or rows where they lie.
struct Left {
  const float* packed = nullptr;  // of row 0 of the tiling
  int64_t packed_k = 0, packed_k0 = 0;
  const float* plain = nullptr;  // of row 0 and the pass's first k
  // Else, for each tile: its patches where they lie, or null if it is packed.
  const float* const* windows = nullptr;
};

// Fetches the rows of Y that a tile is about to write, and those of the residual, which come from memory on large maps:
// the product hides their latency.
ZIGGURAT_INLINE void FetchRows(const float* first, int64_t row, int64_t rows, int columns) {
  for (int64_t i = 0; i < rows; ++i, first += row)
    for (int j = 0; j < columns; j += 16) Prefetch(first + j);
}

// The runs of patches that are read in place from value k0 on.
void SetRuns(const ConvLastArgs& a, int64_t k0, TileArgs* tile) {
  const Runs runs(a);
  tile->first_run = runs.length - RunPlace(runs, k0).begin;
  tile->run = runs.length;
  tile->run_gap = runs.step[1] - runs.length;
}

void Multiply(const ConvLastArgs& a, const Left& left, const Tiling& tiling, int64_t row0, int64_t k0, int64_t k) {
  const int64_t k_all = a.shape.K();
  const bool finish = k0 + k == k_all && !a.epilogue.IsIdentity(), can_end = finish && EndsInTile(a.epilogue);
  TileArgs tile{};
  tile.b_step = kNr;
  tile.k = k;
  tile.c_row = a.out_pixel;
  tile.accumulate = k0 > 0;
  tile.a_row = left.plain ? a.pixel : a.shape.stride[2] * a.pixel;
  if (left.windows) SetRuns(a, k0, &tile);
  for (int64_t panel = a.first_panel; panel < a.last_panel; ++panel) {
    const int64_t column = panel * kNr, rest = a.shape.out_channels - column;
    tile.columns = static_cast<int>(rest < kNr ? rest : int64_t{kNr});
    tile.b = a.weights + (panel * k_all + k0) * kNr;
    tile.end.applies = can_end && tile.columns % kLanes == 0;
    for (int64_t t = 0; t < tiling.count; ++t) {
      const int64_t start = TileStart(tiling, t), height = tiling.base + (t < tiling.taller), row = row0 + start;
      const float* in_place = left.plain ? left.plain + start * a.pixel : left.windows ? left.windows[t] : nullptr;
      tile.a = in_place ? in_place : left.packed + start * left.packed_k + height * left.packed_k0;
      tile.c = a.output + row * a.out_pixel + column;
      if (!tile.accumulate) FetchRows(tile.c, a.out_pixel, height, tile.columns);
      if (finish && a.epilogue.residual)
        FetchRows(a.epilogue.residual + row * a.epilogue.residual_row + column, a.epilogue.residual_row, height,
                  tile.columns);
      if (tile.end.applies) tile.end = EndOf(a.epilogue, row, column);
      (in_place ? FindRowsTile : FindTile)(height, tile.columns)(tile);
      if (finish && !tile.end.applies)
        ApplyEpilogue(a.epilogue, tile.c, a.out_pixel, row, column, height, tile.columns);
    }
  }
}

int64_t PassRows(int64_t rows) {
  if (rows <= kPassRows) return rows;
  const int64_t passes = (rows + kPassRows - 1) / kPassRows;
  return RoundUp((rows + passes - 1) / passes, kMaxMr);
}

void ConvLast(const ConvLastArgs& a) {
  const int64_t k_all = a.shape.K(), rows = a.packed ? a.packed_rows : PassRows(a.last_row - a.first_row);
  const bool in_place = !a.packed && ReadsInPlace(a.shape, a.pixel);
  const float* windows[kPassRows / kMaxMr + 1];
  for (int64_t row0 = a.first_row; row0 < a.last_row; row0 += rows) {
    const int64_t count = a.last_row - row0 < rows ? a.last_row - row0 : rows;
    const Tiling tiling = TileRows(count, kMaxMr);
    for (int64_t k0 = 0; k0 < k_all; k0 += kPassK) {
      const int64_t k = k_all - k0 < kPassK ? k_all - k0 : kPassK;
      Left left;
      if (in_place) {
        left.plain = a.input + row0 * a.pixel + k0;
      } else if (a.packed) {
        left.packed = a.packed, left.packed_k = RoundUp(k_all, kKBlock), left.packed_k0 = k0;
      } else {
        PackTiles(a, tiling, 0, tiling.count, row0, k0, k, a.scratch, windows);
        left.packed = a.scratch, left.packed_k = RoundUp(k, kKBlock), left.windows = windows;
      }
      Multiply(a, left, tiling, row0, k0, k);
    }
  }
}

int64_t Scratch(const ConvShape& s, int64_t rows) {
  // A bound that grows with the rows: fewer may take larger passes.
  const int64_t k = s.K(), most = rows < kPassRows ? rows : kPassRows;
  return most * RoundUp(k < kPassK ? k : kPassK, kKBlock);
}

void Pack(const ConvLastArgs& a, int64_t first_tile, int64_t last_tile, float* packed) {
  PackTiles(a, TileRows(a.packed_rows, kMaxMr), first_tile, last_tile, 0, 0, a.shape.K(), packed);
}

}  // namespace

const LastConvKernels kLastConvKernels = {
    .conv = &ConvLast,
    .scratch = &Scratch,
    .reads_in_place = &ReadsInPlace,
    .pack = &Pack,
    .depthwise = &DepthwiseLast,
    .winograd_input = &WinogradLastInput,
    .winograd_multiply = &WinogradLastMultiply,
    .winograd_output = &WinogradLastOutput,
};

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
