// Attention over whole matrices of keys and values, on the register tile of the matrix products.
//
// Keys come in chunks of 512, merged in ascending order with the online softmax, as those of the paged cache. A chunk's
// scores are written where the next product reads its left operand: [blocks of 128 keys][rows of a tile][128]. So a
// tile's scores never leave the nearest caches, and a query's result is a function of its own row and the keys alone.
#include "cpu/kernels/attention_parts.h"
#include "cpu/kernels/matrix_parts.h"
#include "cpu/kernels/matrix_tile.h"
#include "cpu/kernels/vector_softmax.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

constexpr int64_t kPerBlock = kKBlock / kLanes;  // registers of a block of scores
static_assert(kKBlock % kNr == 0 && kAttentionChunk % kKBlock == 0 && kPerBlock % kChains == 0);

int64_t Lines(int64_t floats) { return RoundUp(floats, 16); }
int64_t ChunkKeys(int64_t keys) { return keys < kAttentionChunk ? keys : kAttentionChunk; }

// Where things lie in the scratch, in floats.
struct Places {
  int64_t keys, values;  // packed panels of a chunk
  int64_t q, scores;     // of one tile
  int64_t part;          // a tile's weighted values of one chunk
  int64_t most, sum;     // of all queries
  int64_t total;
};

Places PlacesOf(int64_t queries, int64_t keys, int64_t size, int64_t value_size) {
  const int64_t chunk = ChunkKeys(keys);
  Places p{};
  p.keys = 0;
  p.values = Lines(RoundUp(chunk, kNr) * size);
  p.q = p.values + Lines(RoundUp(value_size, kNr) * chunk);
  p.scores = p.q + Lines(kMaxMr * RoundUp(size, kKBlock));
  p.part = p.scores + Lines(kMaxMr * RoundUp(chunk, kKBlock));
  p.most = p.part + Lines(kMaxMr * value_size);
  p.sum = p.most + Lines(queries);
  p.total = p.sum + Lines(queries);
  return p;
}

// One tile of queries and one chunk of keys.
struct Job {
  int64_t row0, height;
  int64_t key0, keys;
};

float* RowOfBlock(float* scores, const Job& job, int64_t block, int64_t row) {
  return scores + (block * job.height + row) * kKBlock;
}

void PackChunk(const DenseAttention& a, const Places& p, int64_t key0, int64_t keys) {
  PackBArgs pack;
  pack.b = {a.k + key0 * a.k_row, DType::kFloat32, 1, a.k_row};
  pack.k = a.size, pack.n = keys, pack.last_panel = (keys + kNr - 1) / kNr;
  pack.packed = a.scratch + p.keys;
  PackB(pack);
  pack.b = {a.v + key0 * a.v_row, DType::kFloat32, a.v_row, 1};
  pack.k = keys, pack.n = a.value_size, pack.last_panel = (a.value_size + kNr - 1) / kNr;
  pack.packed = a.scratch + p.values;
  PackB(pack);
}

// The tile's queries as the left operand, without the zeros that packing would fill its blocks up with.
void CopyQueries(const DenseAttention& a, const Places& p, const Job& job) {
  float* to = a.scratch + p.q;
  for (int64_t k = 0; k < a.size; k += kKBlock) {
    const int64_t n = a.size - k < kKBlock ? a.size - k : kKBlock;
    for (int64_t row = 0; row < job.height; ++row, to += kKBlock)
      MapRow(a.q + (job.row0 + row) * a.q_row + k, to, n, [](F32 x) ZIGGURAT_LAMBDA { return x; });
  }
}

// Dot products of the tile's queries with the chunk's keys.
void Products(const DenseAttention& a, const Places& p, const Job& job) {
  if (a.size == 0)  // the tile would write nothing
    for (int64_t i = 0; i < job.height * RoundUp(job.keys, kKBlock); ++i) a.scratch[p.scores + i] = 0;
  CopyQueries(a, p, job);
  TileArgs tile{};
  tile.a = a.scratch + p.q;
  tile.b_step = kNr, tile.k = a.size, tile.c_row = kKBlock;
  for (int64_t key = 0; key < job.keys; key += kNr) {
    tile.b = a.scratch + p.keys + key * a.size;
    tile.columns = static_cast<int>(job.keys - key < kNr ? job.keys - key : kNr);
    tile.c = RowOfBlock(a.scratch + p.scores, job, key / kKBlock, 0) + key % kKBlock;
    FindTile(job.height, tile.columns)(tile);
  }
}

// Scales the row's scores, adds the bias and gives their maximum.
ZIGGURAT_INLINE float FinishScores(const DenseAttention& a, float* scores, const Job& job, int64_t row) {
  const F32 scale = Set(a.scale);
  const float* bias = a.bias ? a.bias + (job.row0 + row) * a.bias_row + job.key0 * a.bias_column : nullptr;
  const F32 same = bias && !a.bias_column ? Set(*bias) : Zero();
  F32 most = Set(-INFINITY);
  for (int64_t block = 0; block * kKBlock < job.keys; ++block) {
    float* s = RowOfBlock(scores, job, block, row);
    const int64_t n = job.keys - block * kKBlock < kKBlock ? job.keys - block * kKBlock : kKBlock;
    const float* b = bias ? bias + block * kKBlock * a.bias_column : nullptr;
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      F32 x = Load(s + i) * scale;
      if (b) x = x + (a.bias_column ? Load(b + i) : same);
      Store(x, s + i);
      most = Rise(x, most);
    }
    if (const int left = static_cast<int>(n - i); left > 0) {
      F32 x = LoadN(s + i, left) * scale;
      if (b) x = x + (a.bias_column ? LoadN(b + i, left) : same);
      StoreN(x, s + i, left);
      most = Select(FirstN(left), Rise(x, most), most);
    }
  }
  return MaxLanes(most);
}

// Scores become exp(score - most), whose sum is returned: element i of the chunk goes to lane i % kLanes of chain
// i / kLanes % 4.
ZIGGURAT_INLINE float Weigh(float* scores, const Job& job, int64_t row, float most) {
  // Keys that are all masked: their weights are zeros beside those of other chunks.
  const F32 m = Set(most == -INFINITY ? 0.0f : most);
  F32 chains[kChains] = {Zero(), Zero(), Zero(), Zero()};
  for (int64_t block = 0; block * kKBlock < job.keys; ++block) {
    float* s = RowOfBlock(scores, job, block, row);
    const int64_t n = job.keys - block * kKBlock < kKBlock ? job.keys - block * kKBlock : kKBlock;
    int64_t i = 0;
    for (; i + kChains * kLanes <= n; i += kChains * kLanes)
      for (int c = 0; c < kChains; ++c) {
        const F32 e = ExpOfNegative(Load(s + i + c * kLanes) - m);
        Store(e, s + i + c * kLanes);
        chains[c] = chains[c] + e;
      }
    for (int c = 0; i < n; ++c, i += kLanes) {
      const int left = static_cast<int>(n - i < kLanes ? n - i : kLanes);
      const F32 e = ExpOfNegative(LoadPart(s + i, left) - m);
      StorePart(e, s + i, left);
      chains[c] = Select(FirstN(left), chains[c] + e, chains[c]);
    }
  }
  return SumLanes((chains[0] + chains[1]) + (chains[2] + chains[3]));
}

// Weighted sums of the chunk's values for the tile, to `to`.
void Values(const DenseAttention& a, const Places& p, const Job& job, float* to, int64_t to_row) {
  TileArgs tile{};
  tile.a = a.scratch + p.scores;
  tile.b_step = kNr, tile.k = job.keys, tile.c_row = to_row;
  for (int64_t column = 0; column < a.value_size; column += kNr) {
    tile.b = a.scratch + p.values + column * job.keys;
    tile.columns = static_cast<int>(a.value_size - column < kNr ? a.value_size - column : kNr);
    tile.c = to + column;
    FindTile(job.height, tile.columns)(tile);
  }
}

// e^x by the vector function, so that all exponentials are one function.
ZIGGURAT_INLINE float ExpOf(float x) {
  alignas(64) float lanes[kLanes];
  StoreAligned(Exp(Set(x)), lanes);
  return lanes[0];
}

// Adds a row's part to what the output row holds of the chunks before. A maximum of minus infinity marks a sum of
// masked keys only, which counts as it is.
void MergeRow(const float* part, float part_most, float part_sum, float* row, int64_t n, float& most, float& sum) {
  const float both = part_most > most ? part_most : most;
  const float keep = most == both ? 1.0f : ExpOf(most - both);
  const float take = part_most == both ? 1.0f : ExpOf(part_most - both);
  most = both, sum = sum * keep + part_sum * take;
  for (int64_t i = 0; i < n; i += kLanes) {
    const int left = static_cast<int>(n - i < kLanes ? n - i : kLanes);
    StorePart(MulAdd(LoadPart(part + i, left), Set(take), LoadPart(row + i, left) * Set(keep)), row + i, left);
  }
}

// Divides by the sum of weights. A query without a key to look at has no weights: NaN, as 0 / 0 in a softmax, or zeros.
void FinishRow(const DenseAttention& a, float most, float sum, float* out) {
  if ((sum != sum && a.nan_is_zero) || (most == -INFINITY && sum == sum && (a.masked_is_zero || a.nan_is_zero))) {
    for (int64_t i = 0; i < a.value_size; ++i) {
      float zero = 0;  // but for values that are no numbers
      for (int64_t key = 0; key < a.keys; ++key) zero += 0.0f * a.v[key * a.v_row + i];
      out[i] = zero;
    }
    return;
  }
  const F32 weights = Set(most == -INFINITY ? NAN : sum);
  for (int64_t i = 0; i < a.value_size; i += kLanes) {
    const int left = static_cast<int>(a.value_size - i < kLanes ? a.value_size - i : kLanes);
    StorePart(LoadPart(out + i, left) / weights, out + i, left);
  }
}

void RunTile(const DenseAttention& a, const Places& p, const Job& job) {
  float *most = a.scratch + p.most + job.row0, *sum = a.scratch + p.sum + job.row0;
  float* out = a.out + job.row0 * a.out_row;
  const bool first = job.key0 == 0, last = job.key0 + job.keys == a.keys;
  float part_most[kMaxMr], part_sum[kMaxMr];
  Products(a, p, job);
  for (int64_t row = 0; row < job.height; ++row) {
    part_most[row] = FinishScores(a, a.scratch + p.scores, job, row);
    part_sum[row] = Weigh(a.scratch + p.scores, job, row, part_most[row]);
  }
  float* part = first ? out : a.scratch + p.part;
  const int64_t part_row = first ? a.out_row : a.value_size;
  Values(a, p, job, part, part_row);
  for (int64_t row = 0; row < job.height; ++row) {
    if (first)
      most[row] = part_most[row], sum[row] = part_sum[row];
    else
      MergeRow(part + row * part_row, part_most[row], part_sum[row], out + row * a.out_row, a.value_size, most[row],
               sum[row]);
    if (last) FinishRow(a, most[row], sum[row], out + row * a.out_row);
  }
}

}  // namespace

int64_t DenseScratch(int64_t queries, int64_t keys, int64_t size, int64_t value_size) {
  return PlacesOf(queries, keys, size, value_size).total;
}

void DenseAttend(const DenseAttention& a) {
  if (a.keys == 0)  // an empty sum
    for (int64_t row = 0; row < a.queries; ++row)
      for (int64_t i = 0; i < a.value_size; ++i) a.out[row * a.out_row + i] = 0;
  const Places p = PlacesOf(a.queries, a.keys, a.size, a.value_size);
  const Tiling tiling = TileRows(a.queries, kMaxMr);
  for (int64_t key0 = 0; key0 < a.keys; key0 += kAttentionChunk) {
    const int64_t keys = ChunkKeys(a.keys - key0);
    PackChunk(a, p, key0, keys);
    for (int64_t t = 0; t < tiling.count; ++t)
      RunTile(a, p, {TileStart(tiling, t), tiling.base + (t < tiling.taller), key0, keys});
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
