// The general convolution of channels-last tensors: patches are copied into tiles of A a pass at a time, or read where
// they lie, and multiplied by panels of weights.
#include "cpu/kernels/matrix_conv_last.h"

#include "cpu/kernels/matrix_parts.h"
#include "cpu/kernels/matrix_tile.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// Rows of a pass: 140 x kGemmPassK floats stay in a core's second-level cache while they meet every panel.
constexpr int64_t kPassRows = 144 / kMaxMr * kMaxMr;
constexpr int64_t kPassK = kGemmPassK;

// Copies with whole registers only: the last one overlaps the one before it.
ZIGGURAT_INLINE void Copy(const float* from, float* to, int64_t n) {
  if (n < kLanes) {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i];
    return;
  }
  for (int64_t i = 0; i + kLanes <= n; i += kLanes) Store(Load(from + i), to + i);
  if (n % kLanes) Store(Load(from + n - kLanes), to + n - kLanes);
}
ZIGGURAT_INLINE void Clear(float* to, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(Zero(), to + i);
  for (; i < n; ++i) to[i] = 0;
}

// One row of a packed tile, written in order: block b of kKBlock values lies at b * step.
struct RowWriter {
  float* to;
  int64_t step;
  int64_t k = 0;

  // n values from `from`, or zeros where it is null.
  void Put(const float* from, int64_t n) {
    while (n > 0) {
      float* at = to + k / kKBlock * step + k % kKBlock;
      const int64_t room = kKBlock - k % kKBlock, count = n < room ? n : room;
      if (from) {
        Copy(from, at, count);
        from += count;
      } else {
        Clear(at, count);
      }
      k += count, n -= count;
    }
  }
};

// Where the window of an output pixel begins.
struct Corner {
  const float* image;
  int64_t at[3];
};
Corner CornerOf(const ConvLastArgs& a, int64_t row) {
  const ConvShape& s = a.shape;
  const int64_t pixels = s.OutPixels(), line = row / s.out[2];
  Corner corner;
  corner.image = a.input + row / pixels * s.InPixels() * a.pixel;
  corner.at[2] = row % s.out[2] * s.stride[2] - s.pad[2];
  corner.at[1] = line % s.out[1] * s.stride[1] - s.pad[1];
  corner.at[0] = line / s.out[1] % s.out[0] * s.stride[0] - s.pad[0];
  return corner;
}

// Values [k0, k0 + k) of the patch at a corner. A run is what lies side by side: the channels of a tap or, where
// neighbouring taps read neighbouring pixels of this group alone, those of a whole row of taps.
void PackRow(const ConvLastArgs& a, const Corner& corner, int64_t k0, int64_t k, RowWriter writer) {
  const ConvShape& s = a.shape;
  const bool joined = s.dilation[2] == 1 && a.pixel == s.channels;
  const int64_t across = joined ? 1 : s.kernel[2], length = s.channels * (joined ? s.kernel[2] : 1);
  for (int64_t run = k0 / length, begin = k0 % length; writer.k < k; ++run, begin = 0) {
    const int64_t n = length - begin < k - writer.k ? length - begin : k - writer.k;
    const int64_t line = run / across;
    const int64_t d = corner.at[0] + line / s.kernel[1] * s.dilation[0];
    const int64_t h = corner.at[1] + line % s.kernel[1] * s.dilation[1];
    const int64_t w = corner.at[2] + run % across * s.dilation[2];
    if (d < 0 || d >= s.in[0] || h < 0 || h >= s.in[1]) {
      writer.Put(nullptr, n);
      continue;
    }
    // Values of the run that lie inside the input's row: [low, high), cut to [begin, begin + n).
    const auto cut = [&](int64_t value) { return value < begin ? begin : value > begin + n ? begin + n : value; };
    const int64_t low = cut(-w * s.channels);
    const int64_t high = joined ? cut((s.in[2] - w) * s.channels) : w >= s.in[2] ? begin : begin + n;
    if (high <= low) {
      writer.Put(nullptr, n);
      continue;
    }
    const float* from = corner.image + ((d * s.in[1] + h) * s.in[2] + w) * a.pixel;
    writer.Put(nullptr, low - begin);
    writer.Put(from + low, high - low);
    writer.Put(nullptr, begin + n - high);
  }
}

// Tiles [first, last) of a tiling whose row 0 is output pixel `row0`, values [k0, k0 + k).
void PackTiles(const ConvLastArgs& a, const Tiling& tiling, int64_t first, int64_t last, int64_t row0, int64_t k0,
               int64_t k, float* packed) {
  for (int64_t t = first; t < last; ++t) {
    const int64_t start = TileStart(tiling, t), height = tiling.base + (t < tiling.taller);
    float* tile = packed + start * RoundUp(k, kKBlock);
    for (int64_t i = 0; i < height; ++i)
      PackRow(a, CornerOf(a, row0 + start + i), k0, k, {tile + i * kKBlock, height * kKBlock});
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
};

// Fetches the rows of Y that a tile is about to write, and those of the residual, which come from memory on large maps:
// the product hides their latency.
ZIGGURAT_INLINE void FetchRows(const float* first, int64_t row, int64_t rows, int columns) {
  for (int64_t i = 0; i < rows; ++i, first += row)
    for (int j = 0; j < columns; j += 16) Prefetch(first + j);
}

void Multiply(const ConvLastArgs& a, const Left& left, const Tiling& tiling, int64_t row0, int64_t k0, int64_t k) {
  const int64_t k_all = a.shape.K();
  const bool finish = k0 + k == k_all && !a.epilogue.IsIdentity();
  TileArgs tile{};
  tile.b_step = kNr;
  tile.k = k;
  tile.c_row = a.out_pixel;
  tile.accumulate = k0 > 0;
  tile.a_row = a.pixel;
  for (int64_t panel = a.first_panel; panel < a.last_panel; ++panel) {
    const int64_t column = panel * kNr, rest = a.shape.out_channels - column;
    tile.columns = static_cast<int>(rest < kNr ? rest : int64_t{kNr});
    tile.b = a.weights + (panel * k_all + k0) * kNr;
    for (int64_t t = 0; t < tiling.count; ++t) {
      const int64_t start = TileStart(tiling, t), height = tiling.base + (t < tiling.taller), row = row0 + start;
      tile.a =
          left.plain ? left.plain + start * a.pixel : left.packed + start * left.packed_k + height * left.packed_k0;
      tile.c = a.output + row * a.out_pixel + column;
      if (!tile.accumulate) FetchRows(tile.c, a.out_pixel, height, tile.columns);
      if (finish && a.epilogue.residual)
        FetchRows(a.epilogue.residual + row * a.epilogue.residual_row + column, a.epilogue.residual_row, height,
                  tile.columns);
      (left.plain ? FindRowsTile : FindTile)(height, tile.columns)(tile);
      if (finish) ApplyEpilogue(a.epilogue, tile.c, a.out_pixel, row, column, height, tile.columns);
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
        PackTiles(a, tiling, 0, tiling.count, row0, k0, k, a.scratch);
        left.packed = a.scratch, left.packed_k = RoundUp(k, kKBlock);
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
