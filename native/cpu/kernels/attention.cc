// Attention of a few queries over one chunk of a paged cache.
#include "cpu/kernels/attention_parts.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// Eight sums in flight cover the latency of a multiplication and addition; the rest holds a row of the cache.
constexpr int kVectors = kLanes >= 16 ? 2 : 4;
constexpr int kRows = 8 / kVectors;
constexpr int64_t kSpan = kVectors * kLanes;  // columns of a register tile: 16 or 32
constexpr int64_t kDimBlock = 128;

// Where things lie in a tile's scratch.
struct Scratch {
  float* scores;   // [rows][512], then weights
  float* decoded;  // a block of keys or values
};
Scratch ScratchOf(const AttentionTile& tile) {
  float* base = reinterpret_cast<float*>(tile.scratch);
  return {base, base + tile.tokens * tile.group * kAttentionChunk};
}

// The positions that row r sees of the chunk, relative to its first.
struct Range {
  int64_t begin, end;
};
ZIGGURAT_INLINE Range RangeOf(const AttentionTile& tile, int64_t row, int64_t chunk) {
  const int64_t position = tile.positions[row / tile.group], origin = chunk * kAttentionChunk;
  const int64_t first = tile.window > 0 && position >= tile.window ? position - tile.window + 1 : 0;
  const int64_t begin = first > origin ? first - origin : 0;
  const int64_t end = position + 1 - origin < kAttentionChunk ? position + 1 - origin : kAttentionChunk;
  return {begin, end};
}
ZIGGURAT_INLINE Range Clip(Range range, int64_t begin, int64_t end) {
  return {range.begin > begin ? range.begin : begin, range.end < end ? range.end : end};
}

int64_t ElementBytes(DType dtype) { return dtype == DType::kFloat32 ? 4 : dtype == DType::kInt8 ? 1 : 2; }
// Blocks lie anywhere: their reads are not a stream that the hardware would follow.
ZIGGURAT_INLINE void FetchBlock(const AttentionTile& tile, const std::byte* from) {
  const int64_t bytes = kKvBlock * tile.head_dim * ElementBytes(tile.dtype);
  for (int64_t at = 0; at < bytes; at += 64) _mm_prefetch(reinterpret_cast<const char*>(from) + at, _MM_HINT_T1);
}
// This head's part of a block of the sequence.
ZIGGURAT_INLINE const std::byte* BlockAt(const AttentionTile& tile, int64_t chunk, int64_t block) {
  return tile.blocks + tile.table[chunk * (kAttentionChunk / kKvBlock) + block] * tile.block_stride;
}
const std::byte* ValuesOf(const AttentionTile& tile, const std::byte* head) {
  return head + kKvBlock * tile.head_dim * ElementBytes(tile.dtype);
}

// A block's keys or values as float32; int8 without its scales.
const float* Decode(const AttentionTile& tile, const std::byte* from, float* decoded) {
  const int64_t n = kKvBlock * tile.head_dim;
  if (tile.dtype == DType::kFloat32) return reinterpret_cast<const float*>(from);
  if (tile.dtype == DType::kInt8) {
    const int8_t* bytes = reinterpret_cast<const int8_t*>(from);
    for (int64_t i = 0; i < n; ++i) decoded[i] = static_cast<float>(bytes[i]);
    return decoded;
  }
  const uint16_t* codes = reinterpret_cast<const uint16_t*>(from);
  if (tile.dtype == DType::kFloat16)
    for (int64_t i = 0; i < n; i += kLanes) Store(LoadF16(codes + i), decoded + i);
  else
    for (int64_t i = 0; i < n; i += kLanes) Store(LoadBf16(codes + i), decoded + i);
  return decoded;
}

// out[r][c] = sum over k < n of a[r][k] b[k][c], for kSpan columns; sums start from zero.
template <int rows>
ZIGGURAT_INLINE void Product(const float* const* a, const float* b, int64_t b_row, int64_t n, F32 (*out)[kVectors]) {
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < kVectors; ++v) out[r][v] = Zero();
  for (int64_t k = 0; k < n; ++k) {
    F32 columns[kVectors];
    for (int v = 0; v < kVectors; ++v) columns[v] = Load(b + k * b_row + v * kLanes);
    for (int r = 0; r < rows; ++r) {
      const F32 factor = Set(a[r][k]);
      for (int v = 0; v < kVectors; ++v) out[r][v] = MulAdd(factor, columns[v], out[r][v]);
    }
  }
}

// Scores of `rows` rows with one block of keys.
template <int rows>
void ScoreRows(const float* const* q, const float* keys, int64_t head_dim, float* const* scores) {
  for (int64_t column = 0; column < kKvBlock; column += kSpan) {
    F32 total[rows][kVectors], part[rows][kVectors];
    Product<rows>(q, keys + column, kKvBlock, head_dim < kDimBlock ? head_dim : kDimBlock, total);
    for (int64_t d = kDimBlock; d < head_dim; d += kDimBlock) {
      const float* rest[rows];
      for (int r = 0; r < rows; ++r) rest[r] = q[r] + d;
      Product<rows>(rest, keys + d * kKvBlock + column, kKvBlock, head_dim - d < kDimBlock ? head_dim - d : kDimBlock,
                    part);
      for (int r = 0; r < rows; ++r)
        for (int v = 0; v < kVectors; ++v) total[r][v] += part[r][v];
    }
    for (int r = 0; r < rows; ++r)
      for (int v = 0; v < kVectors; ++v) Store(total[r][v], scores[r] + column + v * kLanes);
  }
}

// values[r] += sum over tokens [begin, end) of weights[r][token] v[token]: the block's sum starts from zero.
template <int rows>
void ValueRows(const float* const* weights, const float* v, Range range, int64_t head_dim, float* const* values) {
  const float* from[rows];
  for (int r = 0; r < rows; ++r) from[r] = weights[r] + range.begin;
  v += range.begin * head_dim;
  const int64_t n = range.end - range.begin;
  int64_t d = 0;
  for (; d + kSpan <= head_dim; d += kSpan) {
    F32 sums[rows][kVectors];
    Product<rows>(from, v + d, head_dim, n, sums);
    for (int r = 0; r < rows; ++r)
      for (int i = 0; i < kVectors; ++i) {
        float* to = values[r] + d + i * kLanes;
        Store(Load(to) + sums[r][i], to);
      }
  }
  for (; d < head_dim; d += kLanes) {  // the same sums, a register of columns at a time
    const int left = static_cast<int>(head_dim - d < kLanes ? head_dim - d : kLanes);
    for (int r = 0; r < rows; ++r) {
      F32 sum = Zero();
      for (int64_t k = 0; k < n; ++k) sum = MulAdd(Set(from[r][k]), LoadPart(v + k * head_dim + d, left), sum);
      StorePart(LoadPart(values[r] + d, left) + sum, values[r] + d, left);
    }
  }
}

// From dot products to scores: scales of int8 keys, the scale, the soft cap.
void FinishScores(const AttentionTile& tile, const float* key_scales, float* scores) {
  const F32 scale = Set(tile.scale);
  for (int64_t i = 0; i < kKvBlock; i += kLanes) {
    F32 s = Load(scores + i);
    if (key_scales) s = s * Load(key_scales + i);
    s = s * scale;
    if (tile.softcap > 0) s = Tanh(s / Set(tile.softcap)) * Set(tile.softcap);
    Store(s, scores + i);
  }
}

void Scores(const AttentionTile& tile, const Scratch& scratch, int64_t chunk, Range seen) {
  const int64_t rows = tile.tokens * tile.group;
  for (int64_t block = seen.begin / kKvBlock; block * kKvBlock < seen.end; ++block) {
    const std::byte* head = BlockAt(tile, chunk, block);
    if ((block + 1) * kKvBlock < seen.end)
      FetchBlock(tile, BlockAt(tile, chunk, block + 1));
    else
      FetchBlock(tile, ValuesOf(tile, BlockAt(tile, chunk, seen.begin / kKvBlock)));
    const float* keys = Decode(tile, head, scratch.decoded);
    const float* scales =
        tile.dtype == DType::kInt8 ? reinterpret_cast<const float*>(head + 2 * kKvBlock * tile.head_dim) : nullptr;
    for (int64_t row = 0; row < rows; row += kRows) {
      const float* q[kRows];
      float* scores[kRows];
      const int count = static_cast<int>(rows - row < kRows ? rows - row : kRows);
      for (int r = 0; r < count; ++r) {
        q[r] = tile.q + (row + r) / tile.group * tile.q_token + (row + r) % tile.group * tile.head_dim;
        scores[r] = scratch.scores + (row + r) * kAttentionChunk + block * kKvBlock;
      }
      if (count == kRows)
        ScoreRows<kRows>(q, keys, tile.head_dim, scores);
      else
        for (int r = 0; r < count; ++r) ScoreRows<1>(q + r, keys, tile.head_dim, scores + r);
      for (int r = 0; r < count; ++r) FinishScores(tile, scales, scores[r]);
    }
  }
}

ZIGGURAT_INLINE Mask Between(int64_t at, Range range) {
  const I32 lane = AddWrap(Iota(), SetI32(static_cast<int32_t>(at)));
  return And(GtI32(lane, SetI32(static_cast<int32_t>(range.begin) - 1)),
             GtI32(SetI32(static_cast<int32_t>(range.end)), lane));
}

// Scores to weights exp(score - largest), zero outside of the range. Element i goes to lane i % kLanes of chain
// (i / kLanes) % 4, whatever the range: registers that lie outside of it would add zeros.
void Weights(float* scores, Range range, float& most, float& sum) {
  const int64_t begin = range.begin / kLanes * kLanes;
  F32 largest = Set(-INFINITY);
  for (int64_t i = begin; i < range.end; i += kLanes)
    largest = Select(Between(i, range), MaxNan(largest, Load(scores + i)), largest);
  most = MaxLanes(largest);
  F32 chains[kChains] = {Zero(), Zero(), Zero(), Zero()};
  for (int64_t i = begin; i < range.end; i += kLanes) {
    const F32 weight = Select(Between(i, range), Exp(Load(scores + i) - Set(most)), Zero());
    Store(weight, scores + i);
    F32& chain = chains[i / kLanes % kChains];
    chain = chain + weight;
  }
  sum = SumLanes((chains[0] + chains[1]) + (chains[2] + chains[3]));
}

// Weights of int8 values carry the values' scales.
void ScaleWeights(const float* scales, float* weights) {
  for (int64_t i = 0; i < kKvBlock; i += kLanes) Store(Load(weights + i) * Load(scales + i), weights + i);
}

void Values(const AttentionTile& tile, const Scratch& scratch, int64_t chunk, Range seen, const AttentionPart& part) {
  const int64_t rows = tile.tokens * tile.group, width = tile.head_dim;
  for (int64_t i = 0; i < rows * width; ++i) part.values[i] = 0;
  for (int64_t block = seen.begin / kKvBlock; block * kKvBlock < seen.end; ++block) {
    const std::byte* head = BlockAt(tile, chunk, block);
    if ((block + 1) * kKvBlock < seen.end) FetchBlock(tile, ValuesOf(tile, BlockAt(tile, chunk, block + 1)));
    const float* v = Decode(tile, ValuesOf(tile, head), scratch.decoded);
    const float* scales = reinterpret_cast<const float*>(head + 2 * kKvBlock * width) + kKvBlock;
    for (int64_t row = 0; row < rows; row += kRows) {
      const int count = static_cast<int>(rows - row < kRows ? rows - row : kRows);
      const float* weights[kRows];
      float* values[kRows];
      Range ranges[kRows];
      bool same = count == kRows;
      for (int r = 0; r < count; ++r) {
        float* own = scratch.scores + (row + r) * kAttentionChunk + block * kKvBlock;
        ranges[r] = Clip(RangeOf(tile, row + r, chunk), block * kKvBlock, (block + 1) * kKvBlock);
        ranges[r].begin -= block * kKvBlock, ranges[r].end -= block * kKvBlock;
        if (tile.dtype == DType::kInt8 && ranges[r].begin < ranges[r].end) ScaleWeights(scales, own);
        weights[r] = own, values[r] = part.values + (row + r) * width;
        same &= ranges[r].begin == ranges[0].begin && ranges[r].end == ranges[0].end;
      }
      if (same && ranges[0].begin < ranges[0].end)
        ValueRows<kRows>(weights, v, ranges[0], width, values);
      else
        for (int r = 0; r < count; ++r)
          if (ranges[r].begin < ranges[r].end) ValueRows<1>(weights + r, v, ranges[r], width, values + r);
    }
  }
}

}  // namespace

int64_t AttentionScratch(int64_t rows, int64_t head_dim) {
  return (rows * kAttentionChunk + kKvBlock * head_dim + 64) * static_cast<int64_t>(sizeof(float));
}

void AttentionChunk(const AttentionTile& tile, int64_t chunk, const AttentionPart& part) {
  const Scratch scratch = ScratchOf(tile);
  const int64_t rows = tile.tokens * tile.group;
  Range seen = {kAttentionChunk, 0};
  for (int64_t row = 0; row < rows; row += tile.group) {
    const Range range = RangeOf(tile, row, chunk);
    if (range.begin >= range.end) continue;
    if (range.begin < seen.begin) seen.begin = range.begin;
    if (range.end > seen.end) seen.end = range.end;
  }
  if (seen.begin < seen.end) Scores(tile, scratch, chunk, seen);
  for (int64_t row = 0; row < rows; ++row) {
    const Range range = RangeOf(tile, row, chunk);
    part.most[row] = -INFINITY, part.weights[row] = 0;
    if (range.begin < range.end)
      Weights(scratch.scores + row * kAttentionChunk, range, part.most[row], part.weights[row]);
  }
  Values(tile, scratch, chunk, seen, part);
}

void AttentionMerge(int64_t rows, int64_t head_dim, const AttentionPart& part, const AttentionPart& state) {
  for (int64_t row = 0; row < rows; ++row) {
    if (part.most[row] == -INFINITY) continue;
    const float before = state.most[row], most = part.most[row] > before ? part.most[row] : before;
    // Lane 0 of the vector function, so that all exponentials are one function.
    alignas(64) float factors[kLanes] = {};
    factors[0] = before - most, factors[1] = part.most[row] - most;
    StoreAligned(Exp(LoadAligned(factors)), factors);
    const float keep = before == -INFINITY ? 0.0f : factors[0], take = factors[1];
    state.most[row] = part.most[row] != part.most[row] ? part.most[row] : most;
    state.weights[row] = state.weights[row] * keep + part.weights[row] * take;
    const float* from = part.values + row * head_dim;
    float* to = state.values + row * head_dim;
    for (int64_t d = 0; d < head_dim; d += kLanes) {
      const int left = static_cast<int>(head_dim - d < kLanes ? head_dim - d : kLanes);
      StorePart(MulAdd(LoadPart(from + d, left), Set(take), LoadPart(to + d, left) * Set(keep)), to + d, left);
    }
  }
}

void AttentionFinish(const AttentionTile& tile, const AttentionPart& state, float* out, int64_t out_token) {
  for (int64_t row = 0; row < tile.tokens * tile.group; ++row) {
    const float* from = state.values + row * tile.head_dim;
    float* to = out + row / tile.group * out_token + row % tile.group * tile.head_dim;
    const F32 weights = Set(state.weights[row]);
    for (int64_t d = 0; d < tile.head_dim; d += kLanes) {
      const int left = static_cast<int>(tile.head_dim - d < kLanes ? tile.head_dim - d : kLanes);
      StorePart(LoadPart(from + d, left) / weights, to + d, left);
    }
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
