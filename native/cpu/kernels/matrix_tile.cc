#include "cpu/kernels/matrix_tile.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// Rows of B fetched ahead of use: 8 rows of 128 bytes cover the latency of the second-level cache and, for a
// matrix-vector product, keep enough lines in flight to reach the memory bandwidth.
constexpr int64_t kAhead = 8;

template <int kRows, int kVectors>
ZIGGURAT_INLINE void Step(const float* a, const float* b, F32 (&sum)[kRows][kVectors]) {
  F32 right[kVectors];
#pragma GCC unroll 2
  for (int j = 0; j < kVectors; ++j) right[j] = Load(b + j * kLanes);
#pragma GCC unroll 14
  for (int i = 0; i < kRows; ++i) {
    const F32 left = Set(a[i * kKBlock]);
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) sum[i][j] = MulAdd(left, right[j], sum[i][j]);
  }
}

template <int kRows, int kVectors>
ZIGGURAT_INLINE void Flush(const TileArgs& args, bool accumulate, const F32 (&sum)[kRows][kVectors]) {
#pragma GCC unroll 14
  for (int i = 0; i < kRows; ++i) {
    float* c = args.c + i * args.c_row;
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j, c += kLanes) {
      const int columns = args.columns - j * kLanes;
      if (columns >= kLanes)
        Store(accumulate ? Load(c) + sum[i][j] : sum[i][j], c);
      else
        StoreN(accumulate ? LoadN(c, columns) + sum[i][j] : sum[i][j], c, columns);
    }
  }
}

template <int kRows, int kVectors>
void Tile(const TileArgs& args) {
  const float* a = args.a;
  const float* b = args.b;
  const int64_t step = args.b_step;
  bool accumulate = args.accumulate;
  for (int64_t k = args.k; k > 0; k -= kKBlock, a += kRows * kKBlock) {
    F32 sum[kRows][kVectors];
#pragma GCC unroll 14
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) sum[i][j] = Zero();
    const int64_t block = k < kKBlock ? k : kKBlock;
    int64_t i = 0;
    for (; i + 4 <= block; i += 4, b += 4 * step) {
#pragma GCC unroll 4
      for (int u = 0; u < 4; ++u) {
        Prefetch(b + (kAhead + u) * step);
        if (kVectors * kLanes * sizeof(float) > 64) Prefetch(b + (kAhead + u) * step + 16);
        Step<kRows, kVectors>(a + i + u, b + u * step, sum);
      }
    }
    for (; i < block; ++i, b += step) Step<kRows, kVectors>(a + i, b, sum);
    Flush<kRows, kVectors>(args, accumulate, sum);
    accumulate = true;
  }
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
