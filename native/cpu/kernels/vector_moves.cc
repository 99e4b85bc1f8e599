// Two-dimensional transposition: register tiles for 4-byte elements, cache tiles for the rest.
#include "cpu/kernels/vector_parts.h"
#include "cpu/simd.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// Four rows of four numbers, turned over.
ZIGGURAT_INLINE void TurnFour(__m128 a, __m128 b, __m128 c, __m128 d, float* y, int64_t y_stride) {
  _MM_TRANSPOSE4_PS(a, b, c, d);
  _mm_storeu_ps(y, a);
  _mm_storeu_ps(y + y_stride, b);
  _mm_storeu_ps(y + 2 * y_stride, c);
  _mm_storeu_ps(y + 3 * y_stride, d);
}

#if defined(__AVX__)
constexpr int64_t kTile = 8;

ZIGGURAT_INLINE void TransposeTile(const float* x, int64_t x_stride, float* y, int64_t y_stride) {
  __m256 rows[8], pairs[8], quads[8];
  for (int i = 0; i < 8; ++i) rows[i] = _mm256_loadu_ps(x + i * x_stride);
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 8; i += 4)
    for (int k = 0; k < 2; ++k) {
      quads[i + 2 * k] = _mm256_shuffle_ps(pairs[i + k], pairs[i + k + 2], 0x44);
      quads[i + 2 * k + 1] = _mm256_shuffle_ps(pairs[i + k], pairs[i + k + 2], 0xee);
    }
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(y + i * y_stride, _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x20));
    _mm256_storeu_ps(y + (i + 4) * y_stride, _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x31));
  }
}
#else
constexpr int64_t kTile = 4;

ZIGGURAT_INLINE void TransposeTile(const float* x, int64_t x_stride, float* y, int64_t y_stride) {
  const auto row = [&](int64_t r) { return _mm_loadu_ps(x + r * x_stride); };
  TurnFour(row(0), row(1), row(2), row(3), y, y_stride);
}
#endif

template <typename T>
void Small(const T* x, int64_t x_stride, T* y, int64_t y_stride, int64_t rows, int64_t columns) {
  for (int64_t c = 0; c < columns; ++c)
    for (int64_t r = 0; r < rows; ++r) y[c * y_stride + r] = x[r * x_stride + c];
}

// Fewer than eight rows, as the shuffle of two to four groups of channels has.
void FewRows(const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t rows, int64_t columns) {
  const auto row = [&](int64_t r, int64_t c) { return _mm_loadu_ps(x + r * x_stride + c); };
  const int64_t fours = columns / 4 * 4;
  if (rows >= 4) {
    for (int64_t c = 0; c < fours; c += 4)
      TurnFour(row(0, c), row(1, c), row(2, c), row(3, c), y + c * y_stride, y_stride);
    Small(x + fours, x_stride, y + fours * y_stride, y_stride, 4, columns - fours);
    return FewRows(x + 4 * x_stride, x_stride, y + 4, y_stride, rows - 4, columns);
  }
  int64_t c = 0;
  if (rows == 2 && y_stride == 2) {
    for (; c < fours; c += 4) {
      _mm_storeu_ps(y + 2 * c, _mm_unpacklo_ps(row(0, c), row(1, c)));
      _mm_storeu_ps(y + 2 * c + 4, _mm_unpackhi_ps(row(0, c), row(1, c)));
    }
  } else if (rows == 3 && y_stride == 3) {
    // Of each four numbers the last is no one's: the next column overwrites it, and the last columns are not done here.
    for (; c + 4 < columns; c += 4) TurnFour(row(0, c), row(1, c), row(2, c), row(2, c), y + 3 * c, 3);
  }
  Small(x + c, x_stride, y + c * y_stride, y_stride, rows, columns - c);
}

void Tiles(const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t rows, int64_t columns) {
  const int64_t whole_rows = rows / kTile * kTile, whole_columns = columns / kTile * kTile;
  for (int64_t r = 0; r < whole_rows; r += kTile)
    for (int64_t c = 0; c < whole_columns; c += kTile)
      TransposeTile(x + r * x_stride + c, x_stride, y + c * y_stride + r, y_stride);
  Small(x + whole_columns, x_stride, y + whole_columns * y_stride, y_stride, whole_rows, columns - whole_columns);
  FewRows(x + whole_rows * x_stride, x_stride, y + whole_rows, y_stride, rows - whole_rows, columns);
}

// A block's source and destination lines (64 x 64 x 4 bytes twice) fit the first-level cache together.
constexpr int64_t kBlock = 64;

template <typename T, void (*block)(const T*, int64_t, T*, int64_t, int64_t, int64_t)>
void Blocks(const void* x_bytes, int64_t x_stride, void* y_bytes, int64_t y_stride, int64_t rows, int64_t columns) {
  const T* x = static_cast<const T*>(x_bytes);
  T* y = static_cast<T*>(y_bytes);
  for (int64_t r = 0; r < rows; r += kBlock)
    for (int64_t c = 0; c < columns; c += kBlock)
      block(x + r * x_stride + c, x_stride, y + c * y_stride + r, y_stride, rows - r < kBlock ? rows - r : kBlock,
            columns - c < kBlock ? columns - c : kBlock);
}

}  // namespace

void Transpose(int element_bytes, const void* x, int64_t x_stride, void* y, int64_t y_stride, int64_t rows,
               int64_t columns) {
  switch (element_bytes) {
    case 1:
      return Blocks<uint8_t, Small<uint8_t>>(x, x_stride, y, y_stride, rows, columns);
    case 2:
      return Blocks<uint16_t, Small<uint16_t>>(x, x_stride, y, y_stride, rows, columns);
    case 4:
      return Blocks<float, Tiles>(x, x_stride, y, y_stride, rows, columns);
    case 8:
      return Blocks<uint64_t, Small<uint64_t>>(x, x_stride, y, y_stride, rows, columns);
    default:
      return;
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
