// The attention family: storing keys and values in a paged cache, attending over it, rotary positions.
//
// A head's part of a cache block, as device/kv_pool.h lays it out: keys [head_dim][32], values [32][head_dim], and for
// int8 32 + 32 float32 scales. Everything computes in float32. All functions are for one thread.
//
// A query's result is a function of its own row, its position and the cache: positions are cut in chunks of 512, each
// summed on its own relative to its largest score, in blocks of 32 tokens that start from zero; chunks are merged in
// ascending order (the online softmax of Milakov and Gimelshein, 2018). Scores sum head_dim in blocks of 128.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace ziggurat::cpu {

inline constexpr int64_t kKvBlock = 32, kAttentionChunk = 512;

// Some tokens of one sequence, and all query heads that share one head of keys and values: row r is head r % group of
// token r / group.
struct AttentionTile {
  const float* q = nullptr;  // heads of a token follow one another; tokens are q_token floats apart
  int64_t q_token = 0;
  int64_t tokens = 0, group = 1, head_dim = 0;
  const int64_t* positions = nullptr;  // [tokens]
  int64_t window = 0;                  // 0: all from position 0 on
  float scale = 1, softcap = 0;        // softcap 0: none
  const std::byte* blocks = nullptr;   // this head's part of block 0
  int64_t block_stride = 0;            // bytes
  const int64_t* table = nullptr;      // block numbers of the sequence
  DType dtype = DType::kFloat32;       // of the cache
  std::byte* scratch = nullptr;        // attention_scratch bytes, 64-byte aligned
};

// A chunk's part of the result of `rows` rows: the sum of weighted values, the largest score and the sum of weights.
// A row that sees nothing of the chunk has a `most` of minus infinity and is not merged.
struct AttentionPart {
  float* values;   // [rows][head_dim]
  float* most;     // [rows]
  float* weights;  // [rows]
};

struct KvRows {
  const float* rows = nullptr;  // of one head: token t at t * row_stride
  int64_t row_stride = 0;
  int64_t head_dim = 0;
  std::byte* blocks = nullptr;  // this head's part of block 0
  int64_t block_stride = 0;
  const int64_t* slots = nullptr;  // negative: not stored
  DType dtype = DType::kFloat32;
};

struct RotaryArgs {
  const float* x = nullptr;       // [tokens][heads][head_dim]
  float* y = nullptr;             // may be x
  const float* cosine = nullptr;  // [tokens][size / 2]
  const float* sine = nullptr;
  int64_t tokens = 0, heads = 0, head_dim = 0;
  int64_t x_token = 0, x_head = 0;  // distances in floats, of y too
  int64_t size = 0;                 // elements of a head that turn; the rest is copied
  bool interleaved = false;         // pairs (0, 1), (2, 3) ... instead of (0, size / 2), (1, size / 2 + 1) ...
};

// Some queries of one head over all its keys, which are plain matrices: rows `..._row` floats apart.
struct DenseAttention {
  const float *q = nullptr, *k = nullptr, *v = nullptr;
  int64_t q_row = 0, k_row = 0, v_row = 0;
  int64_t queries = 0, keys = 0;
  int64_t size = 0, value_size = 0;  // of a row of q and k, and of v
  float scale = 1;
  const float* bias = nullptr;  // added to scaled scores; null: nothing
  int64_t bias_row = 0;         // distance of two queries' rows; 0 repeats one
  int64_t bias_column = 1;      // 1, or 0 to repeat one element
  bool masked_is_zero = false;  // a query with no key to look at (all scores minus infinity) gives zeros, not NaN
  bool nan_is_zero = false;     // so does one whose weights are not numbers
  float* out = nullptr;
  int64_t out_row = 0;
  float* scratch = nullptr;  // dense_scratch floats, 64-byte aligned
};

struct AttentionKernels {
  // Bytes of scratch for a tile of that many rows.
  int64_t (*scratch)(int64_t rows, int64_t head_dim);
  // The part of chunk `chunk` (positions chunk * 512 on) of every row.
  void (*chunk)(const AttentionTile& tile, int64_t chunk, const AttentionPart& part);
  // Adds a part to the state of all parts before; a state begins with zeros and a `most` of minus infinity.
  void (*merge)(int64_t rows, int64_t head_dim, const AttentionPart& part, const AttentionPart& state);
  // out = values / weights for each row; rows of a token follow one another, tokens are out_token floats apart.
  void (*finish)(const AttentionTile& tile, const AttentionPart& state, float* out, int64_t out_token);
  // Stores tokens [begin, end).
  void (*store_keys)(const KvRows& keys, int64_t begin, int64_t end);
  void (*store_values)(const KvRows& values, int64_t begin, int64_t end);
  void (*rotary)(const RotaryArgs& args);
  void (*dense)(const DenseAttention& args);
  // Floats of scratch; never falls as an argument grows.
  int64_t (*dense_scratch)(int64_t queries, int64_t keys, int64_t size, int64_t value_size);
};

}  // namespace ziggurat::cpu
