#include "cpu/kernels/matrix_tile.h"

#include <limits>

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

bool EndsInTile(const Epilogue& e) {
  return e.scale == 1 && !e.row_bias && !e.activation && (!e.column_bias || e.bias_scale == 1) &&
         (!e.residual || (e.residual_scale == 1 && e.residual_column == 1));
}

TileEnd EndOf(const Epilogue& e, int64_t row, int64_t column) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  return {.applies = true,
          .bias = e.column_bias ? e.column_bias + column : nullptr,
          .residual = e.residual ? e.residual + row * e.residual_row + column : nullptr,
          .residual_row = e.residual_row,
          .low = e.clamps ? e.low : -kInfinity,
          .high = e.clamps ? e.high : kInfinity};
}

namespace {

// What ApplyEpilogue reads for one register of a row; null pointers are left out.
struct Operands {
  const float *bias, *residual;
  F32 row_bias, scale, bias_scale, residual_scale, low, high;
};

template <bool kWhole>
ZIGGURAT_INLINE F32 LoadPart(const float* p, int n) {
  return kWhole ? Load(p) : LoadN(p, n);
}

template <bool kWhole>
ZIGGURAT_INLINE F32 Finish(const Epilogue& e, const Operands& o, F32 y, int64_t j, int n) {
  if (e.scale != 1) y = y * o.scale;
  if (o.bias) {
    F32 b = LoadPart<kWhole>(o.bias + j, n);
    if (e.bias_scale != 1) b = b * o.bias_scale;
    y = y + b;
  }
  if (e.row_bias) y = y + o.row_bias;
  if (o.residual) {
    F32 r = e.residual_column ? LoadPart<kWhole>(o.residual + j, n) : Set(*o.residual);
    if (e.residual_scale != 1) r = r * o.residual_scale;
    y = y + r;
  }
  return e.clamps ? Clamp(y, o.low, o.high) : y;
}

}  // namespace

void ApplyEpilogue(const Epilogue& e, float* c, int64_t c_row, int64_t row0, int64_t column0, int64_t rows,
                   int64_t columns) {
  Operands o{};
  o.scale = Set(e.scale), o.bias_scale = Set(e.bias_scale), o.residual_scale = Set(e.residual_scale);
  o.low = Set(e.low), o.high = Set(e.high), o.row_bias = Zero();
  o.bias = e.column_bias ? e.column_bias + column0 : nullptr;
  for (int64_t i = 0; i < rows; ++i, c += c_row) {
    o.residual = e.residual ? e.residual + (row0 + i) * e.residual_row + column0 * e.residual_column : nullptr;
    if (e.row_bias) o.row_bias = Set(e.row_bias[row0 + i]);
    int64_t j = 0;
    // Whole registers without masks: a masked store costs some ten cycles on AVX2.
    for (; j + kLanes <= columns; j += kLanes) Store(Finish<true>(e, o, Load(c + j), j, kLanes), c + j);
    if (const int left = static_cast<int>(columns - j); left > 0)
      StoreN(Finish<false>(e, o, LoadN(c + j, left), j, left), c + j, left);
    if (e.activation) e.activation(c, c, columns, e.params);
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
