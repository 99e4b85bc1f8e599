#include "cpu/kernels/matrix_tile.h"

#include "cpu/kernels/matrix_tile_loop.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

template <int kRows, int kVectors>
void Tile(const TileArgs& args) {
  TileLoop<RightF32, kRows, kVectors>(args);
}

constexpr TileFn kTiles[][kNv] = {
    {Tile<1, 1>, Tile<1, 2>},   {Tile<2, 1>, Tile<2, 2>},   {Tile<3, 1>, Tile<3, 2>},   {Tile<4, 1>, Tile<4, 2>},
#if !defined(ZIGGURAT_ISA_sse42)
    {Tile<5, 1>, Tile<5, 2>},   {Tile<6, 1>, Tile<6, 2>},
#if !defined(ZIGGURAT_ISA_avx2)
    {Tile<7, 1>, Tile<7, 2>},   {Tile<8, 1>, Tile<8, 2>},   {Tile<9, 1>, Tile<9, 2>},   {Tile<10, 1>, Tile<10, 2>},
    {Tile<11, 1>, Tile<11, 2>}, {Tile<12, 1>, Tile<12, 2>}, {Tile<13, 1>, Tile<13, 2>}, {Tile<14, 1>, Tile<14, 2>},
#endif
#endif
};
static_assert(sizeof kTiles / sizeof kTiles[0] == kMaxMr);

}  // namespace

TileFn FindTile(int64_t height, int columns) { return kTiles[height - 1][columns > kLanes]; }

void ApplyEpilogue(const Epilogue& e, float* c, int64_t c_row, int64_t row0, int64_t column0, int64_t rows,
                   int64_t columns) {
  const F32 scale = Set(e.scale), bias_scale = Set(e.bias_scale), residual_scale = Set(e.residual_scale);
  for (int64_t i = 0; i < rows; ++i, c += c_row) {
    const float* bias = e.column_bias ? e.column_bias + column0 : nullptr;
    const float* residual =
        e.residual ? e.residual + (row0 + i) * e.residual_row + column0 * e.residual_column : nullptr;
    const F32 row_bias = e.row_bias ? Set(e.row_bias[row0 + i]) : Zero();
    for (int64_t j = 0; j < columns; j += kLanes) {
      const int left = columns - j < kLanes ? static_cast<int>(columns - j) : kLanes;
      F32 y = LoadN(c + j, left);
      if (e.scale != 1) y = y * scale;
      if (bias) {
        F32 b = LoadN(bias + j, left);
        if (e.bias_scale != 1) b = b * bias_scale;
        y = y + b;
      }
      if (e.row_bias) y = y + row_bias;
      if (residual) {
        F32 r = e.residual_column ? LoadN(residual + j, left) : Set(*residual);
        if (e.residual_scale != 1) r = r * residual_scale;
        y = y + r;
      }
      StoreN(y, c + j, left);
    }
    if (e.activation) e.activation(c, c, columns, e.params);
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
