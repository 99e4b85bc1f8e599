// Winograd's convolution of channels-last tensors: registers run along the channels, so a tile is read and written in
// whole rows of them, and the products are those of any matrix: tiles times packed weights, position by position.
#include "cpu/kernels/matrix_parts.h"
#include "cpu/kernels/matrix_tile.h"
#include "cpu/kernels/matrix_winograd_transforms.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

ZIGGURAT_INLINE F32 LoadUpTo(const float* p, int n) { return n == kLanes ? Load(p) : LoadN(p, n); }
ZIGGURAT_INLINE void StoreUpTo(F32 a, float* p, int n) { n == kLanes ? Store(a, p) : StoreN(a, p, n); }

// Tile `t` of the picture, all channels; `v` is its row at position 0.
template <int m>
void InputTile(const WinogradLastArgs& a, int64_t t, float* v) {
  constexpr int n = m + 2;
  const WinogradShape& s = a.shape;
  const int64_t across = s.Tiles(1), top = t / across * m - s.pad[0], left = t % across * m - s.pad[1];
  for (int64_t c = 0; c < s.channels; c += kLanes) {
    const int count = s.channels - c < kLanes ? static_cast<int>(s.channels - c) : kLanes;
    F32 half[n][n];  // [column][row]
#pragma GCC unroll 6
    for (int j = 0; j < n; ++j) {
      F32 column[n];
      const bool in_columns = left + j >= 0 && left + j < s.in[1];
#pragma GCC unroll 6
      for (int i = 0; i < n; ++i) {
        const bool inside = in_columns && top + i >= 0 && top + i < s.in[0];
        column[i] = inside ? LoadUpTo(a.input + ((top + i) * s.in[1] + left + j) * a.pixel + c, count) : Zero();
      }
      Forward<m>(column, half[j]);
    }
#pragma GCC unroll 6
    for (int i = 0; i < n; ++i) {
      F32 row[n], out[n];
#pragma GCC unroll 6
      for (int j = 0; j < n; ++j) row[j] = half[j][i];
      Forward<m>(row, out);
#pragma GCC unroll 6
      for (int j = 0; j < n; ++j) StoreUpTo(out[j], v + (i * n + j) * a.v_step + c, count);
    }
  }
}

template <int m>
void OutputTile(const WinogradLastArgs& a, int64_t t, const float* from) {
  constexpr int n = m + 2;
  const WinogradShape& s = a.shape;
  const int64_t across = s.Tiles(1), y0 = t / across * m, x0 = t % across * m;
  const int64_t rows = s.out[0] - y0 < m ? s.out[0] - y0 : m, columns = s.out[1] - x0 < m ? s.out[1] - x0 : m;
  for (int64_t c = 0; c < s.out_channels; c += kLanes) {
    const int count = s.out_channels - c < kLanes ? static_cast<int>(s.out_channels - c) : kLanes;
    F32 half[n][m];  // [column][row]
#pragma GCC unroll 6
    for (int j = 0; j < n; ++j) {
      F32 column[n];
#pragma GCC unroll 6
      for (int i = 0; i < n; ++i) column[i] = LoadUpTo(from + (i * n + j) * a.m_step + c, count);
      Back<m>(column, half[j]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < m; ++i) {
      F32 row[n], y[m];
#pragma GCC unroll 6
      for (int j = 0; j < n; ++j) row[j] = half[j][i];
      Back<m>(row, y);
      if (i >= rows) continue;
      float* to = a.output + ((y0 + i) * s.out[1] + x0) * a.out_pixel + c;
#pragma GCC unroll 4
      for (int j = 0; j < m; ++j)
        if (j < columns) StoreUpTo(y[j], to + j * a.out_pixel, count);
    }
  }
  if (a.epilogue.IsIdentity()) return;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t pixel = (y0 + i) * s.out[1] + x0;
    ApplyEpilogue(a.epilogue, a.output + pixel * a.out_pixel, a.out_pixel, pixel, 0, columns, s.out_channels);
  }
}

}  // namespace

void WinogradLastInput(const WinogradLastArgs& a, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; ++i) {
    float* v = a.v + i * a.shape.channels;
    a.shape.tile == 2 ? InputTile<2>(a, a.first_tile + i, v) : InputTile<4>(a, a.first_tile + i, v);
  }
}

void WinogradLastMultiply(const WinogradLastArgs& a, int position, int64_t first_panel, int64_t last_panel) {
  const int64_t channels = a.shape.channels, out_channels = a.shape.out_channels;
  const Tiling tiling = TileRows(a.tiles, kMaxMr);
  TileArgs tile{};
  tile.b_step = kNr;
  tile.k = channels;
  tile.c_row = out_channels;
  tile.a_row = channels;
  for (int64_t panel = first_panel; panel < last_panel; ++panel) {
    const int64_t column = panel * kNr, rest = out_channels - column;
    tile.columns = static_cast<int>(rest < kNr ? rest : int64_t{kNr});
    tile.b = a.weights + position * a.weight_step + column * channels;
    for (int64_t t = 0; t < tiling.count; ++t) {
      const int64_t start = TileStart(tiling, t), height = tiling.base + (t < tiling.taller);
      tile.a = a.v + position * a.v_step + start * channels;
      tile.c = a.m + position * a.m_step + start * out_channels + column;
      FindRowsTile(height, tile.columns)(tile);
    }
  }
}

void WinogradLastOutput(const WinogradLastArgs& a, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; ++i) {
    const float* m = a.m + i * a.shape.out_channels;
    a.shape.tile == 2 ? OutputTile<2>(a, a.first_tile + i, m) : OutputTile<4>(a, a.first_tile + i, m);
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
