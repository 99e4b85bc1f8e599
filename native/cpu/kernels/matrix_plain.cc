// Products of the rarer types: float64, and integers that wrap around. Blocked for registers only.
#include "cpu/kernels/matrix_parts.h"
#include "cpu/kernels/matrix_tile.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

constexpr int kRows = 4;

template <typename T>
struct Wide {
  static constexpr int kCount = kVectorBytes / static_cast<int>(sizeof(T));
  typedef T Vector __attribute__((vector_size(kVectorBytes)));
  typedef T Unaligned __attribute__((vector_size(kVectorBytes), aligned(alignof(T))));
};

// Values [column, column + count) of `rows` rows of C, each summed in blocks of kKBlock. Product and sum are rounded
// apart, in the vector form as in the scalar one.
template <typename T, int kHeight>
void Columns(const PlainGemmArgs& g, int64_t row, int64_t column) {
  using Vector = typename Wide<T>::Vector;
  const T* a = static_cast<const T*>(g.a) + row * g.a_row;
  const T* b = static_cast<const T*>(g.b) + column;
  Vector total[kHeight] = {};
  for (int64_t k0 = 0; k0 < g.k; k0 += kKBlock) {
    const int64_t last = g.k - k0 < kKBlock ? g.k : k0 + kKBlock;
    Vector sum[kHeight] = {};
    for (int64_t k = k0; k < last; ++k) {
      const Vector right = *reinterpret_cast<const typename Wide<T>::Unaligned*>(b + k * g.b_row);
#pragma GCC unroll 4
      for (int i = 0; i < kHeight; ++i) sum[i] += right * a[i * g.a_row + k * g.a_column];
    }
    for (int i = 0; i < kHeight; ++i) total[i] = k0 ? total[i] + sum[i] : sum[i];
  }
  T* c = static_cast<T*>(g.c) + row * g.c_row + column;
  for (int i = 0; i < kHeight; ++i) *reinterpret_cast<typename Wide<T>::Unaligned*>(c + i * g.c_row) = total[i];
}

template <typename T>
void Element(const PlainGemmArgs& g, int64_t row, int64_t column) {
  const T* a = static_cast<const T*>(g.a) + row * g.a_row;
  const T* b = static_cast<const T*>(g.b) + column * g.b_column;
  T total = 0;
  for (int64_t k0 = 0; k0 < g.k; k0 += kKBlock) {
    const int64_t last = g.k - k0 < kKBlock ? g.k : k0 + kKBlock;
    T sum = 0;
    for (int64_t k = k0; k < last; ++k) sum += b[k * g.b_row] * a[k * g.a_column];
    total = k0 ? total + sum : sum;
  }
  static_cast<T*>(g.c)[row * g.c_row + column] = total;
}

template <typename T>
void PlainGemm(const PlainGemmArgs& g) {
  constexpr int kCount = Wide<T>::kCount;
  const int64_t vectors = g.b_column == 1 ? g.n / kCount * kCount : 0;
  for (int64_t column = 0; column < vectors; column += kCount) {
    int64_t row = 0;
    for (; row + kRows <= g.m; row += kRows) Columns<T, kRows>(g, row, column);
    for (; row < g.m; ++row) Columns<T, 1>(g, row, column);
  }
  for (int64_t row = 0; row < g.m; ++row)
    for (int64_t column = vectors; column < g.n; ++column) Element<T>(g, row, column);
}

}  // namespace

// Two's complement wraps alike for both signs, and unsigned arithmetic may.
PlainGemmFn FindPlainGemm(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return &PlainGemm<double>;
    case DType::kInt32:
    case DType::kUint32:
      return &PlainGemm<uint32_t>;
    case DType::kInt64:
    case DType::kUint64:
      return &PlainGemm<uint64_t>;
    default:
      return nullptr;
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
