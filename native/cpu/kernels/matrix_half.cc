// B in 16 bits: packing, widening, and tiles of few rows that read it as it is.
#include "cpu/kernels/matrix_parts.h"
#include "cpu/kernels/matrix_tile_loop.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

template <typename Right, int kRows>
void HalfTile(const TileArgs& args) {
  TileLoop<Right, kRows, kNv>(args);
}

template <typename Right>
constexpr TileFn kHalfTiles[kMaxHalfMr] = {HalfTile<Right, 1>, HalfTile<Right, 2>, HalfTile<Right, 3>,
                                           HalfTile<Right, 4>};

template <typename Right>
void WidenAll(const uint16_t* from, int64_t n, float* to) {
  for (; n > 0; n -= kLanes, from += kLanes, to += kLanes) Store(Right::LoadLanes(from), to);
}

}  // namespace

TileFn FindHalfTile(int64_t height, DType b) {
  return (b == DType::kFloat16 ? kHalfTiles<RightF16> : kHalfTiles<RightBf16>)[height - 1];
}

void Widen(const void* from, DType dtype, int64_t n, float* to) {
  const uint16_t* half = static_cast<const uint16_t*>(from);
  dtype == DType::kFloat16 ? WidenAll<RightF16>(half, n, to) : WidenAll<RightBf16>(half, n, to);
}

void PackHalf(const PackHalfArgs& p) {
  constexpr int64_t kStep = 32;  // of k: 32 values of each of the panel's rows are a cache line each
  for (int64_t panel = p.first_panel; panel < p.last_panel; ++panel) {
    uint16_t* to = p.packed + panel * kNr * p.k;
    const int64_t rows = p.n - panel * kNr < kNr ? p.n - panel * kNr : kNr;
    for (int64_t k0 = 0; k0 < p.k; k0 += kStep) {
      const int64_t k1 = k0 + kStep < p.k ? k0 + kStep : p.k;
      for (int64_t j = 0; j < kNr; ++j) {
        const uint16_t* w = p.w + (panel * kNr + j) * p.k;
        for (int64_t k = k0; k < k1; ++k) to[k * kNr + j] = j < rows ? w[k] : uint16_t{0};
      }
    }
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
