// Packing: copies, conversions to float32 and transposes, all exact.
#include "cpu/kernels/matrix_parts.h"
#include "cpu/kernels/matrix_tile.h"
#include "cpu/kernels/matrix_turn.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

constexpr int64_t BytesOf(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }
const void* At(const MatrixView& view, int64_t row, int64_t column) {
  return static_cast<const char*>(view.data) + (row * view.row + column * view.column) * BytesOf(view.dtype);
}

ZIGGURAT_INLINE F32 LoadElements(const void* from, DType dtype, int n) {
  if (dtype == DType::kFloat32) return LoadN(static_cast<const float*>(from), n);
  if (dtype == DType::kFloat16) return LoadF16N(static_cast<const uint16_t*>(from), n);
  return LoadBf16N(static_cast<const uint16_t*>(from), n);
}

// n contiguous elements as float32.
ZIGGURAT_INLINE void CopyRun(const void* from, DType dtype, float* to, int64_t n) {
  if (dtype == DType::kFloat32) {
    const float* source = static_cast<const float*>(from);
    for (; n >= kLanes; n -= kLanes, source += kLanes, to += kLanes) Store(Load(source), to);
    if (n) StoreN(LoadN(source, static_cast<int>(n)), to, static_cast<int>(n));
    return;
  }
  const uint16_t* source = static_cast<const uint16_t*>(from);
  for (; n > 0; n -= kLanes, source += kLanes, to += kLanes) {
    const int count = n < kLanes ? static_cast<int>(n) : kLanes;
    StoreN(LoadElements(source, dtype, count), to, count);
  }
}

float LoadElement(const MatrixView& view, int64_t row, int64_t column) {
  const void* from = At(view, row, column);
  if (view.dtype == DType::kFloat32) return *static_cast<const float*>(from);
  return SumLanes(LoadElements(from, view.dtype, 1));
}

// to[j * to_step + i] = from[i * from_step + j] for a square of kLanes: rows become columns.
ZIGGURAT_INLINE void TransposeSquare(const float* from, int64_t from_step, float* to, int64_t to_step) {
  F32 rows[kLanes];
  for (int i = 0; i < kLanes; ++i) rows[i] = Load(from + i * from_step);
  Turn(rows);
  for (int j = 0; j < kLanes; ++j) Store(rows[j], to + j * to_step);
}

// One panel of B, element by element: columns past the matrix are zero.
void PackPanelSlowly(const PackBArgs& p, int64_t column0, int64_t columns, float* to) {
  for (int64_t kk = 0; kk < p.k; ++kk, to += kNr) {
    for (int64_t j = 0; j < columns; ++j) to[j] = LoadElement(p.b, kk, column0 + j);
    for (int64_t j = columns; j < kNr; ++j) to[j] = 0;
  }
}

void PackPanelOfRows(const PackBArgs& p, int64_t column0, int64_t columns, float* to) {
  for (int64_t kk = 0; kk < p.k; ++kk, to += kNr) {
    CopyRun(At(p.b, kk, column0), p.b.dtype, to, columns);
    for (int64_t j = columns; j < kNr; ++j) to[j] = 0;
  }
}

// B given by its columns (a transposed matrix), float32.
void PackPanelOfColumns(const PackBArgs& p, int64_t column0, int64_t columns, float* to) {
  const float* from = static_cast<const float*>(At(p.b, 0, column0));
  const int64_t step = p.b.column;
  int64_t j = 0;
  for (; j + kLanes <= columns; j += kLanes, from += kLanes * step) {
    int64_t kk = 0;
    for (; kk + kLanes <= p.k; kk += kLanes) TransposeSquare(from + kk, step, to + kk * kNr + j, kNr);
    for (; kk < p.k; ++kk)
      for (int i = 0; i < kLanes; ++i) to[kk * kNr + j + i] = from[i * step + kk];
  }
  for (; j < kNr; ++j, from += step)
    for (int64_t kk = 0; kk < p.k; ++kk) to[kk * kNr + j] = j < columns ? from[kk] : 0.0f;
}

}  // namespace

void PackB(const PackBArgs& p) {
  for (int64_t panel = p.first_panel; panel < p.last_panel; ++panel) {
    const int64_t column0 = panel * kNr;
    const int64_t columns = p.n - column0 < kNr ? p.n - column0 : kNr;
    float* to = p.packed + panel * kNr * p.k;
    if (p.b.column == 1)
      PackPanelOfRows(p, column0, columns, to);
    else if (p.b.row == 1 && p.b.dtype == DType::kFloat32)
      PackPanelOfColumns(p, column0, columns, to);
    else
      PackPanelSlowly(p, column0, columns, to);
  }
}

void PackARows(const MatrixView& a, int64_t row0, int64_t rows, int64_t k0, int64_t k, float* packed) {
  const Tiling tiling = TileRows(rows, kMaxMr);
  for (int64_t t = 0; t < tiling.count; ++t) {
    const int64_t start = row0 + TileStart(tiling, t), height = tiling.base + (t < tiling.taller);
    for (int64_t kk = 0; kk < k; kk += kKBlock) {
      const int64_t block = k - kk < kKBlock ? k - kk : kKBlock;
      for (int64_t i = 0; i < height; ++i, packed += kKBlock) {
        if (a.column == 1)
          CopyRun(At(a, start + i, k0 + kk), a.dtype, packed, block);
        else
          for (int64_t u = 0; u < block; ++u) packed[u] = LoadElement(a, start + i, k0 + kk + u);
        for (int64_t u = block; u < kKBlock; ++u) packed[u] = 0;
      }
    }
  }
}

void PackA(const MatrixView& a, int64_t m, int64_t k, float* packed) { PackARows(a, 0, m, 0, k, packed); }

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
