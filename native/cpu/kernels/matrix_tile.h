// The register tile that all matrix kernels are built on.
//
// C[height, columns] (+)= A tile x B panel over k values. Sizes: AVX-512 has 32 registers: 14 x 2 sums, 2 of B and a
// broadcast of A are 31, and 28 independent sums cover the FMA latency of 4 cycles on two ports (8) three times over.
// AVX2 and SSE have 16: 6 x 2 sums; SSE, with no FMA, needs a register for the product: 4 x 2.
#pragma once

#include "cpu/kernels/matrix.h"
#include "cpu/simd.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {

constexpr int kMaxMr = kLanes == 16 ? 14 : kLanes == 8 ? 6 : 4;
constexpr int kNv = 2;
constexpr int kNr = kNv * kLanes;
// K of one pass of Gemm (matrix_gemm.cc). Here, because tables must be constants to the compiler of each unit: one that
// is computed at load would run this instruction set's code on any CPU.
constexpr int64_t kGemmPassK = 4 * kKBlock;

// What ends a sum before it is stored: y = min(max(sum + bias + residual, low), high), a NaN stays. For whole
// registers: `columns` a multiple of kLanes.
struct TileEnd {
  bool applies = false;
  const float* bias = nullptr;      // of the tile's first column, or null
  const float* residual = nullptr;  // of the tile's first element, or null
  int64_t residual_row = 0;
  float low = 0, high = 0;
};

struct TileArgs {
  const float* a;  // packed tile, from the first k of this call
  const void* b;   // row of the first k: float32, or what the tile's kind reads
  int64_t b_step;
  int64_t k;  // a multiple of kKBlock unless it ends K
  float* c;
  int64_t c_row;
  int columns;        // 1 .. kNr
  bool accumulate;    // C holds the sum of the blocks before this call's
  int64_t a_row = 0;  // FindRowsTile: distance of two rows of A
  // FindRowsTile: where rows of A are runs, `first_run` values up to the end of the first, `run` in each other, and
  // `run_gap` from one's end to the next. 0: rows are one run.
  int64_t first_run = 0, run = 0, run_gap = 0;
  // What will be read after this call from far away: the line at next + k * next_step is fetched to the second level
  // with each k. Null: nothing. Tiles of up to half the greatest height, which use B as fast as it comes, leave it.
  const char* next = nullptr;
  int64_t next_step = 0;
  TileEnd end;
};
using TileFn = void (*)(const TileArgs& args);

// The kernel for tiles of 1 .. kMaxMr rows. It reads kNr (or, at most kLanes columns, kLanes) elements of each row of
// B, and writes `columns` of C.
TileFn FindTile(int64_t height, int columns);

// The same for an A that is read where it lies, rows a_row apart.
TileFn FindRowsTile(int64_t height, int columns);

// The same for B in 16 bits, of 1 .. kMaxHalfMr rows: kNr elements of each row of B are read whatever `columns` is. For
// higher tiles B is widened first: then a tile's work hides the copy.
constexpr int kMaxHalfMr = 4;
TileFn FindHalfTile(int64_t height, DType b);
// n elements, a multiple of kLanes, as float32.
void Widen(const void* from, DType dtype, int64_t n, float* to);

// Whether tiles can apply `epilogue` as they store, where their columns fill registers.
bool EndsInTile(const Epilogue& epilogue);
// TileArgs::end of the tile whose first element is C[row, column].
TileEnd EndOf(const Epilogue& epilogue, int64_t row, int64_t column);

// Applies `epilogue` to rows x columns of C whose first element is C[row0, column0].
void ApplyEpilogue(const Epilogue& epilogue, float* c, int64_t c_row, int64_t row0, int64_t column0, int64_t rows,
                   int64_t columns);

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
