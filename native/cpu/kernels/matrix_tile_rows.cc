// The register tile over rows of A where they lie: for products whose few columns would not pay for a copy of A.
#include "cpu/kernels/matrix_tile_loop.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// Rows in threes: one pointer, and two more rows that an address reaches by its index. Fourteen pointers would not stay
// in the sixteen general registers.
template <int kRows>
struct Rows {
  static constexpr int kPointers = (kRows + 2) / 3;
  const float* at[kPointers];
  int64_t row;

  ZIGGURAT_INLINE void Start(Rows& rows, const float* a, int64_t row) {
    rows.row = row;
#pragma GCC unroll 5
    for (int i = 0; i < kPointers; ++i) rows.at[i] = a + 3 * i * row;
  }
  ZIGGURAT_INLINE void Skip(Rows& rows, int64_t values) {
#pragma GCC unroll 5
    for (int i = 0; i < kPointers; ++i) rows.at[i] += values;
  }
  ZIGGURAT_INLINE void Advance(Rows& rows) {
#pragma GCC unroll 5
    for (int i = 0; i < kPointers; ++i) {
      ++rows.at[i];
      asm("" : "+r"(rows.at[i]));  // else the compiler makes a pointer of every row after all, and spills them
    }
  }
};

template <int kRows, int kVectors>
ZIGGURAT_INLINE void Step(const Rows<kRows>& rows, const float* b, int64_t b_step, F32 (&sum)[kRows][kVectors]) {
  Prefetch(b + kAhead<RightF32> * b_step);
  if (kVectors * kLanes * sizeof *b > 64) Prefetch(b + kAhead<RightF32> * b_step + 64 / sizeof *b);
  F32 right[kVectors];
#pragma GCC unroll 2
  for (int j = 0; j < kVectors; ++j) right[j] = Load(b + j * kLanes);
#pragma GCC unroll 14
  for (int i = 0; i < kRows; ++i) {
    const F32 left = Set(rows.at[i / 3][i % 3 * rows.row]);
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) sum[i][j] = MulAdd(left, right[j], sum[i][j]);
  }
}

template <int kRows, int kVectors>
void RowsTile(const TileArgs& args) {
  Rows<kRows> rows;
  Rows<kRows>::Start(rows, args.a, args.a_row);
  const float* b = static_cast<const float*>(args.b);
  const int64_t step = args.b_step;
  bool accumulate = args.accumulate;
  int64_t run = args.run ? args.first_run : args.k;  // values up to the end of the run
  for (int64_t k = args.k; k > 0; k -= kKBlock) {
    F32 sum[kRows][kVectors];
#pragma GCC unroll 14
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) sum[i][j] = Zero();
    const int64_t block = k < kKBlock ? k : kKBlock;
    for (int64_t left = block; left > 0;) {
      const int64_t count = left < run ? left : run;
#pragma GCC unroll 1
      for (int64_t i = 0; i < count; ++i, b += step, Rows<kRows>::Advance(rows))
        Step<kRows, kVectors>(rows, b, step, sum);
      left -= count, run -= count;
      if (run > 0) continue;
      Rows<kRows>::Skip(rows, args.run_gap);
      run = args.run;
    }
    Flush<kRows, kVectors>(args, accumulate, k <= kKBlock, sum);
    accumulate = true;
  }
}

constexpr TileFn kTiles[][kNv] = {
    {RowsTile<1, 1>, RowsTile<1, 2>},   {RowsTile<2, 1>, RowsTile<2, 2>},   {RowsTile<3, 1>, RowsTile<3, 2>},
    {RowsTile<4, 1>, RowsTile<4, 2>},
#if !defined(ZIGGURAT_ISA_sse42)
    {RowsTile<5, 1>, RowsTile<5, 2>},   {RowsTile<6, 1>, RowsTile<6, 2>},
#if !defined(ZIGGURAT_ISA_avx2)
    {RowsTile<7, 1>, RowsTile<7, 2>},   {RowsTile<8, 1>, RowsTile<8, 2>},   {RowsTile<9, 1>, RowsTile<9, 2>},
    {RowsTile<10, 1>, RowsTile<10, 2>}, {RowsTile<11, 1>, RowsTile<11, 2>}, {RowsTile<12, 1>, RowsTile<12, 2>},
    {RowsTile<13, 1>, RowsTile<13, 2>}, {RowsTile<14, 1>, RowsTile<14, 2>},
#endif
#endif
};
static_assert(sizeof kTiles / sizeof kTiles[0] == kMaxMr);

}  // namespace

TileFn FindRowsTile(int64_t height, int columns) { return kTiles[height - 1][columns > kLanes]; }

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
