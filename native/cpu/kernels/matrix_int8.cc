// 8-bit products. With VNNI a word is 4 values and one instruction adds 4 products to an int32 sum; elsewhere a word is
// 2 values widened to int16, whose products pmaddwd adds exactly (the 8-bit form, pmaddubsw, saturates).
//
// A is taken as unsigned and B as signed, the form VNNI multiplies: a' = a + 128 where A is signed, b' = b - 128 where
// B is not, zero points alike. Then sum (a' - za)(b' - zb) = sum a'b' - za sum b' - zb sum a' + k za zb.
#include "cpu/kernels/matrix_parts.h"
#include "cpu/kernels/matrix_tile.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

#if defined(ZIGGURAT_ISA_avx512vnni)
constexpr int kDepth = 4;
ZIGGURAT_INLINE I32 DotWord(I32 a, I32 b, I32 sum) {
  return (I32)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
}
#else
constexpr int kDepth = 2;
ZIGGURAT_INLINE I32 DotWord(I32 a, I32 b, I32 sum) {
#if defined(ZIGGURAT_ISA_avx512)
  return AddWrap(sum, (I32)_mm512_madd_epi16((__m512i)a, (__m512i)b));
#elif defined(ZIGGURAT_ISA_avx2)
  return AddWrap(sum, (I32)_mm256_madd_epi16((__m256i)a, (__m256i)b));
#else
  return AddWrap(sum, (I32)_mm_madd_epi16((__m128i)a, (__m128i)b));
#endif
}
#endif

constexpr int kBits = 32 / kDepth;
constexpr uint32_t kValueMask = (1u << kBits) - 1;

int64_t Words(int64_t k) { return (k + kDepth - 1) / kDepth; }
int64_t PanelWords(int64_t k) { return kNr + Words(k) * kNr; }

// Element as the kernel sees it: A unsigned, B signed.
int32_t ReadA(const void* data, bool is_signed, int64_t at) {
  return is_signed ? static_cast<const int8_t*>(data)[at] + 128 : static_cast<const uint8_t*>(data)[at];
}
int32_t ReadB(const void* data, bool is_signed, int64_t at) {
  return is_signed ? static_cast<const int8_t*>(data)[at] : static_cast<const uint8_t*>(data)[at] - 128;
}

// Words of up to kKBlock contiguous values' worth of A; gives their sum. `flip` makes signed bytes unsigned.
int32_t PackWords(const uint8_t* a, uint32_t flip, int64_t words, int32_t* packed) {
  uint32_t sum = 0;
#if defined(ZIGGURAT_ISA_avx512vnni)
  const I32 flips = SetI32(static_cast<int32_t>(flip)), ones = SetI32(0x01010101);
  I32 sums = SetI32(0);
  for (int64_t w = 0; w < words; w += kLanes) {
    const int left = static_cast<int>(words - w < kLanes ? words - w : kLanes);
    const Mask some = FirstN(left);
    const I32 word = (I32)_mm512_maskz_xor_epi32(some, _mm512_maskz_loadu_epi32(some, a + 4 * w), (__m512i)flips);
    sums = DotWord(word, ones, sums);
    StoreN(word, packed + w, left);
  }
  sum = static_cast<uint32_t>(_mm512_reduce_add_epi32((__m512i)sums));
#else
  for (int64_t w = 0; w < words; ++w) {
    uint16_t pair;
    __builtin_memcpy(&pair, a + 2 * w, 2);
    const uint32_t both = pair ^ (flip & 0xffff), low = both & 0xff, high = both >> 8;
    sum += low + high;
    packed[w] = static_cast<int32_t>(low | high << 16);
  }
#endif
  return static_cast<int32_t>(sum);
}

// The word of values [k0, k0 + kDepth) of a row, zero past the last.
uint32_t WordAt(const Int8GemmArgs& g, const void* row, int64_t k0, int32_t* sum) {
  uint32_t word = 0;
  for (int u = 0; u < kDepth && k0 + u < g.k; ++u) {
    const int32_t value = ReadA(row, g.a_signed, (k0 + u) * g.a_column);
    *sum += value;
    word |= static_cast<uint32_t>(value) << (u * kBits);
  }
  return word;
}

// Packs rows [row, row + height) as a tile of words, [words / kKBlock][height][kKBlock]; gives the rows' sums.
void PackTile(const Int8GemmArgs& g, int64_t row, int64_t height, int32_t* packed, int32_t* sums) {
  const int64_t words = Words(g.k), whole = g.a_column == 1 ? g.k / kDepth : 0;
  for (int64_t i = 0; i < height; ++i) {
    const uint8_t* a = static_cast<const uint8_t*>(g.a) + (row + i) * g.a_row;
    int32_t sum = 0;
    for (int64_t w0 = 0; w0 < words; w0 += kKBlock) {
      int32_t* to = packed + (w0 / kKBlock * height + i) * kKBlock;
      const int64_t last = words - w0 < kKBlock ? words : w0 + kKBlock;
      const int64_t copied = whole <= w0 ? 0 : (whole < last ? whole : last) - w0;
      sum += PackWords(a + w0 * kDepth, g.a_signed ? 0x80808080u : 0u, copied, to);
      for (int64_t w = w0 + copied; w < last; ++w) to[w - w0] = static_cast<int32_t>(WordAt(g, a, w * kDepth, &sum));
    }
    sums[i] = sum;
  }
}

struct TileJob {
  const int32_t* a;
  const int32_t* sums;  // of the rows
  const int32_t* b;     // a packed panel
  int64_t column;       // of the panel's first
  int64_t row;
};

typedef uint32_t Wrapping __attribute__((vector_size(kVectorBytes)));

// What one register of a tile's columns needs for the zero points' share: sums - from_a + b_zero (k a_zero - row sum).
struct Correction {
  Wrapping from_a, b_zero;
  bool has_b_zero;
};

ZIGGURAT_INLINE int32_t ZeroOfA(const Int8GemmArgs& g) { return g.a_zero + (g.a_signed ? 128 : 0); }

ZIGGURAT_INLINE Correction CorrectionOf(const Int8GemmArgs& g, const TileJob& job, int j, int count) {
  Correction c;
  c.from_a = (Wrapping)Load(job.b + j) * (Wrapping)SetI32(ZeroOfA(g));
  c.b_zero = (Wrapping)LoadN(g.b_zero + job.column + j, count) - (Wrapping)SetI32(g.b_signed ? 0 : 128);
  c.has_b_zero = !AllTrue(EqI32((I32)c.b_zero, SetI32(0)));
  return c;
}

// k a_zero - row sum: what a unit of B's zero point takes from each column of the row.
ZIGGURAT_INLINE Wrapping FromB(const Int8GemmArgs& g, int32_t row_sum) {
  const uint32_t k_zero = static_cast<uint32_t>(g.k) * static_cast<uint32_t>(ZeroOfA(g));
  return (Wrapping)SetI32(static_cast<int32_t>(k_zero - static_cast<uint32_t>(row_sum)));
}

// The low bytes of the first n lanes.
ZIGGURAT_INLINE void StoreBytes(I32 x, uint8_t* to, int n) {
#if defined(__AVX512F__)
  _mm512_mask_cvtepi32_storeu_epi8(to, FirstN(n), (__m512i)x);
#else
  alignas(64) int32_t lanes[kLanes];
  Store(x, lanes);
  for (int i = 0; i < n; ++i) to[i] = static_cast<uint8_t>(lanes[i]);
#endif
}

// An Int8Scale in registers.
struct Rounding {
  F32 scale, inverse, zero, least, most;

  explicit Rounding(const Int8Scale& to)
      : scale(Set(to.scale)),
        inverse(Set(1 / to.scale)),
        zero(Set(to.zero)),
        least(Set(to.is_signed ? -128.0f : 0.0f)),
        most(Set(to.is_signed ? 127.0f : 255.0f)) {}
};

// round(x / scale), where it is within +-512; beyond, something as large. The product with the inverse tells the
// rounded quotient unless that is about half way between two integers.
ZIGGURAT_INLINE F32 RoundedQuotient(F32 x, const Rounding& to) {
  const F32 near = x * to.inverse, rounded = RoundEven(near);
  // Of a quotient below 512 the product's two roundings take 2^-14 at most.
  const Mask clear = Lt(Abs(near - rounded), Set(0.4999f));
  return AllTrue(clear) ? rounded : RoundEven(x / to.scale);
}

ZIGGURAT_INLINE void StoreRounded(F32 x, const Rounding& to, uint8_t* y, int n) {
  const F32 rounded = RoundedQuotient(x, to) + to.zero;
  const F32 kept = Select(IsNan(rounded), Zero(), Min(Max(rounded, to.least), to.most));
  StoreBytes(ToI32Round(kept), y, n);
}

void Quantize(const float* x, int64_t n, const Int8Scale& scale, void* y) {
  const Rounding to(scale);
  uint8_t* out = static_cast<uint8_t*>(y);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) StoreRounded(Load(x + i), to, out + i, kLanes);
  const int left = static_cast<int>(n - i);
  if (left > 0) StoreRounded(LoadN(x + i, left), to, out + i, left);
}

// Finishes the tile's sums, which lie in rows of kNr.
void FinishTile(const Int8GemmArgs& g, const int32_t* sums, int64_t row, int64_t column, int64_t rows) {
  const Int8Finish& f = *g.finish;
  const Rounding to(f.to);
  const int columns = static_cast<int>(g.n - column < kNr ? g.n - column : kNr);
  for (int j = 0; j < columns; j += kLanes) {
    const int left = columns - j < kLanes ? columns - j : kLanes;
    const F32 scale = LoadN(f.scale + column + j, left);
    const F32 bias = f.bias ? LoadN(f.bias + column + j, left) : Zero();
    for (int64_t i = 0; i < rows; ++i) {
      F32 x = ToF32(LoadN(sums + i * kNr + j, left)) * scale;
      if (f.bias) x = x + bias;
      const int64_t at = (row + i) * g.c_row + column + j;
      if (f.quantizes)
        StoreRounded(x, to, static_cast<uint8_t*>(g.y) + at, left);
      else
        StoreN(x, static_cast<float*>(g.y) + at, left);
    }
  }
}

template <int kRows>
void Tile(const Int8GemmArgs& g, const TileJob& job) {
  const int32_t* a = job.a;
  const int32_t* b = job.b + kNr;
  I32 sum[kRows][kNv];
#pragma GCC unroll 14
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < kNv; ++j) sum[i][j] = SetI32(0);
  for (int64_t words = Words(g.k); words > 0; words -= kKBlock, a += kRows * kKBlock) {
    const int64_t block = words < kKBlock ? words : kKBlock;
    for (int64_t w = 0; w < block; ++w, b += kNr) {
      Prefetch(b + 8 * kNr);
      const I32 left = Load(b), right = Load(b + kLanes);
#pragma GCC unroll 14
      for (int i = 0; i < kRows; ++i) {
        const I32 value = SetI32(a[i * kKBlock + w]);
        sum[i][0] = DotWord(value, left, sum[i][0]);
        sum[i][1] = DotWord(value, right, sum[i][1]);
      }
    }
  }
  alignas(64) int32_t finished[kRows * kNr];
  int32_t* c = g.finish ? finished : g.c + job.row * g.c_row + job.column;
  const int64_t c_row = g.finish ? kNr : g.c_row;
#pragma GCC unroll 2
  for (int j = 0; j < kNv; ++j) {
    const int64_t left = g.n - job.column - j * kLanes;
    if (left <= 0) break;
    const int count = left < kLanes ? static_cast<int>(left) : kLanes;
    const Correction correction = CorrectionOf(g, job, j * kLanes, count);
#pragma GCC unroll 14
    for (int i = 0; i < kRows; ++i) {
      Wrapping y = (Wrapping)sum[i][j] - correction.from_a;
      if (correction.has_b_zero) y += correction.b_zero * FromB(g, job.sums[i]);
      StoreN((I32)y, c + i * c_row + j * kLanes, count);
    }
  }
  if (g.finish) FinishTile(g, finished, job.row, job.column, kRows);
}

using Int8TileFn = void (*)(const Int8GemmArgs&, const TileJob&);
constexpr Int8TileFn kTiles[] = {
    Tile<1>, Tile<2>, Tile<3>, Tile<4>,
#if !defined(ZIGGURAT_ISA_sse42)
    Tile<5>, Tile<6>,
#if !defined(ZIGGURAT_ISA_avx2)
    Tile<7>, Tile<8>, Tile<9>, Tile<10>, Tile<11>, Tile<12>, Tile<13>, Tile<14>,
#endif
#endif
};
static_assert(sizeof kTiles / sizeof kTiles[0] == kMaxMr);

void PackB(const PackInt8BArgs& p) {
  const int64_t words = Words(p.k);
  for (int64_t panel = p.first_panel; panel < p.last_panel; ++panel) {
    int32_t* sums = p.packed + panel * PanelWords(p.k);
    int32_t* to = sums + kNr;
    for (int j = 0; j < kNr; ++j) sums[j] = 0;
    const int64_t column0 = panel * kNr;
    const int columns = static_cast<int>(p.n - column0 < kNr ? p.n - column0 : kNr);
    for (int64_t w = 0; w < words; ++w, to += kNr)
      for (int j = 0; j < kNr; ++j) {
        uint32_t word = 0;
        for (int u = 0; j < columns && u < kDepth && w * kDepth + u < p.k; ++u) {
          const int32_t value = ReadB(p.b, p.is_signed, (w * kDepth + u) * p.b_row + (column0 + j) * p.b_column);
          sums[j] += value;
          word |= (static_cast<uint32_t>(value) & kValueMask) << (u * kBits);
        }
        to[j] = static_cast<int32_t>(word);
      }
  }
}

int64_t PackedBWords(int64_t k, int64_t n) { return (n + kNr - 1) / kNr * PanelWords(k); }

// Rows packed at a time: 256 KiB of words at the most common k of 1024 and below.
constexpr int64_t kPassTiles = 8;
int64_t Scratch(int64_t k) { return kPassTiles * kMaxMr * (RoundUp(Words(k), kKBlock) + 1); }

void Gemm(const Int8GemmArgs& g) {
  const int64_t words = RoundUp(Words(g.k), kKBlock), panels = (g.n + kNr - 1) / kNr;
  const Tiling tiling = TileRows(g.m, kMaxMr);
  int32_t* sums = g.scratch + kPassTiles * kMaxMr * words;
  for (int64_t first = 0; first < tiling.count; first += kPassTiles) {
    const int64_t last = first + kPassTiles < tiling.count ? first + kPassTiles : tiling.count;
    const auto height = [&](int64_t t) { return tiling.base + (t < tiling.taller); };
    for (int64_t t = first; t < last; ++t)
      PackTile(g, TileStart(tiling, t), height(t), g.scratch + (t - first) * kMaxMr * words,
               sums + (t - first) * kMaxMr);
    for (int64_t panel = 0; panel < panels; ++panel)
      for (int64_t t = first; t < last; ++t)
        kTiles[height(t) - 1](g, {g.scratch + (t - first) * kMaxMr * words, sums + (t - first) * kMaxMr,
                                  g.b + panel * PanelWords(g.k), panel * kNr, TileStart(tiling, t)});
  }
}

}  // namespace

extern const Int8Kernels kInt8Kernels;
const Int8Kernels kInt8Kernels = {PackB, PackedBWords, Gemm, Scratch, Quantize};

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
