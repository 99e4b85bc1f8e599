// float32 GEMM over packed operands, for one thread.
#include "cpu/kernels/matrix_parts.h"
#include "cpu/kernels/matrix_tile.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// One pass multiplies an A block of kPassRows x kPassK with every panel of B: 140 x 512 x 4 = 280 KiB, beside a panel's
// slice of kPassK * kNr * 4 = 64 KiB (AVX2: 32) that is read once a tile. Both fit into the smallest second-level cache
// in use beside AVX2 and FMA (512 KiB). C is read and written once a pass, 1/512th of the work: passes of 1024 are no
// faster where the cache is larger. Neither constant changes a bit.
constexpr int64_t kPassK = kGemmPassK;
constexpr int64_t kPassRows = 144 / kMaxMr * kMaxMr;

// Rows of each pass: as even as can be, so that none is a sliver.
int64_t PassRows(int64_t m) {
  if (m <= kPassRows) return m;
  const int64_t passes = (m + kPassRows - 1) / kPassRows;
  return (m + passes - 1) / passes;
}

struct Pass {
  const float* a;  // packed tiles
  int64_t a_k;     // packed values a row
  int64_t a_k0;    // where in them this pass begins
  Tiling tiling;
  int64_t first_tile, last_tile;
  int64_t row0;  // of the first tile of the tiling
  int64_t k0, k;
};

// Points the tile at B's share of the pass in the panel. B of 16 bits is read as it is for few rows (true) and widened
// once for many: float32 holds its values exactly, so the sums are the same bits.
bool SetB(const GemmArgs& g, const Pass& pass, int64_t panel, TileArgs* tile) {
  const int64_t at = panel * g.b_panel + pass.k0 * g.b_step;
  if (g.b_dtype == DType::kFloat32) {
    tile->b = static_cast<const float*>(g.b) + at;
    return false;
  }
  const uint16_t* half = static_cast<const uint16_t*>(g.b) + at;
  tile->b = half;
  if (pass.last_tile - pass.first_tile == 1 && pass.tiling.base + (pass.first_tile < pass.tiling.taller) <= kMaxHalfMr)
    return true;
  Widen(half, g.b_dtype, pass.k * kNr, g.wide);
  tile->b = g.wide;
  return false;
}

// The panel's tiles fetch the pass's share of the next panel while they compute, each its part: the first tile of that
// panel would otherwise read it from memory, and both threads as much as the memory gives.
void FetchNext(const GemmArgs& g, const Pass& pass, int64_t panel, int64_t t, TileArgs* tile) {
  tile->next = nullptr;
  if (g.b_dtype != DType::kFloat32 || g.b_step != kNr || (panel + 1) * kNr >= g.n) return;
  const int64_t bytes = kNr * 4, tiles = pass.last_tile - pass.first_tile;
  tile->next_step = RoundUp((bytes + tiles - 1) / tiles, 8);
  if (t * tile->next_step >= bytes) return;
  const float* next = static_cast<const float*>(g.b) + (panel + 1) * g.b_panel + pass.k0 * kNr;
  tile->next = reinterpret_cast<const char*>(next) + t * tile->next_step * pass.k;
}

void RunPass(const GemmArgs& g, const Pass& pass) {
  const bool finish = pass.k0 + pass.k == g.k && !g.epilogue.IsIdentity(), can_end = finish && EndsInTile(g.epilogue);
  TileArgs tile{};
  tile.b_step = g.b_step;
  tile.k = pass.k;
  tile.c_row = g.c_row;
  tile.accumulate = pass.k0 > 0;
  for (int64_t column = 0, panel = 0; column < g.n; column += kNr, ++panel) {
    tile.columns = static_cast<int>(g.n - column < kNr ? g.n - column : kNr);
    const bool narrow = SetB(g, pass, panel, &tile);
    tile.end.applies = can_end && tile.columns % (narrow ? kNr : kLanes) == 0;
    for (int64_t t = pass.first_tile; t < pass.last_tile; ++t) {
      FetchNext(g, pass, panel, t - pass.first_tile, &tile);
      const int64_t start = TileStart(pass.tiling, t), height = pass.tiling.base + (t < pass.tiling.taller);
      const int64_t row = pass.row0 + start;
      tile.a = pass.a + start * pass.a_k + height * pass.a_k0;
      tile.c = g.c + row * g.c_row + column;
      if (tile.end.applies) tile.end = EndOf(g.epilogue, row, column);
      (narrow ? FindHalfTile(height, g.b_dtype) : FindTile(height, tile.columns))(tile);
      if (finish && !tile.end.applies) ApplyEpilogue(g.epilogue, tile.c, g.c_row, row, column, height, tile.columns);
    }
  }
}

// An empty sum is zero; the epilogue still applies.
void EmptySum(const GemmArgs& g) {
  for (int64_t i = 0; i < g.m; ++i) {
    float* c = g.c + i * g.c_row;
    for (int64_t j = 0; j < g.n; ++j) c[j] = 0;
  }
  if (g.n > 0 && !g.epilogue.IsIdentity()) ApplyEpilogue(g.epilogue, g.c, g.c_row, 0, 0, g.m, g.n);
}

}  // namespace

int64_t GemmScratch(int64_t m, int64_t k) { return PassRows(m) * RoundUp(k < kPassK ? k : kPassK, kKBlock); }

void Gemm(const GemmArgs& g) {
  if (g.k == 0) return EmptySum(g);
  // One contiguous row is its own packing.
  const bool plain_row = g.m == 1 && g.a.dtype == DType::kFloat32 && g.a.column == 1;
  const float* packed = g.a_packed ? g.a_packed : plain_row ? static_cast<const float*>(g.a.data) : nullptr;
  const int64_t packed_k = RoundUp(g.k, kKBlock), rows = PassRows(g.m);
  const Tiling whole = TileRows(g.m, kMaxMr);
  for (int64_t k0 = 0; k0 < g.k; k0 += kPassK) {
    const int64_t k = g.k - k0 < kPassK ? g.k - k0 : kPassK;
    if (packed) {
      for (int64_t tile = 0; tile < whole.count; tile += kPassRows / kMaxMr) {
        const int64_t last = tile + kPassRows / kMaxMr;
        RunPass(g, {packed, packed_k, k0, whole, tile, last < whole.count ? last : whole.count, 0, k0, k});
      }
      continue;
    }
    for (int64_t row0 = 0; row0 < g.m; row0 += rows) {
      const int64_t count = g.m - row0 < rows ? g.m - row0 : rows;
      const Tiling tiling = TileRows(count, kMaxMr);
      PackARows(g.a, row0, count, k0, k, g.scratch);
      RunPass(g, {g.scratch, RoundUp(k, kKBlock), 0, tiling, 0, tiling.count, row0, k0, k});
    }
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
