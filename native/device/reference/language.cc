// Ops of language models, one element after the other: what the CPU's kernels are tested against.
//
// Attention runs over fixed chunks of 512 positions, each summed on its own and merged in ascending order with the
// running maximum (the online softmax of Milakov and Gimelshein, 2018), so that a query's bits depend on its position
// and the tokens before it, never on how many queries share the step.
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "device/paged_step.h"
#include "device/reference/plain.h"
#include "tensor/half.h"

namespace ziggurat::plain {
namespace {

constexpr int64_t kBlock = KvPool::kBlockTokens, kChunk = 512;

void Dequantize(const Args& args) {
  const TensorView& out = args.Out(0);
  if (out.Count()) DequantizeGgml(args.encoding, args.In(0).data, out.Count(), out.As<float>());
}

// One head's part of a block: where a key's and a value's elements lie.
class HeadBlock {
 public:
  HeadBlock(const KvPool& pool, int64_t layer, int64_t block, int64_t head)
      : dtype_(pool.shape().dtype),
        width_(pool.shape().head_dim),
        data_(pool.Layer(layer) + block * pool.block_stride() + head * pool.head_stride()),
        scales_(reinterpret_cast<float*>(data_ + 2 * kBlock * width_)) {}

  float Key(int64_t token, int64_t i) const { return At(i * kBlock + token, token); }
  float Value(int64_t token, int64_t i) const { return At((kBlock + token) * width_ + i, kBlock + token); }
  void Store(int64_t token, const float* key, const float* value) const {
    for (bool values : {false, true}) {
      const float* from = values ? value : key;
      const float scale = dtype_ == DType::kInt8 ? SetScale(from, values ? kBlock + token : token) : 0.0f;
      for (int64_t i = 0; i < width_; ++i)
        SetAt(values ? (kBlock + token) * width_ + i : i * kBlock + token, from[i], scale);
    }
  }

 private:
  float At(int64_t index, int64_t scale) const {
    if (dtype_ == DType::kFloat32) return reinterpret_cast<const float*>(data_)[index];
    if (dtype_ == DType::kInt8) return scales_[scale] * static_cast<float>(reinterpret_cast<int8_t*>(data_)[index]);
    const uint16_t code = reinterpret_cast<const uint16_t*>(data_)[index];
    return dtype_ == DType::kFloat16 ? Float16ToFloat(code) : BFloat16ToFloat(code);
  }
  // The scale with which the largest magnitude becomes 127; NaN, and with it the whole row, where it is not finite.
  float SetScale(const float* from, int64_t index) const {
    float most = 0;
    for (int64_t i = 0; i < width_; ++i) most = std::isfinite(from[i]) ? std::max(most, std::fabs(from[i])) : INFINITY;
    return scales_[index] = std::isfinite(most) ? most / 127.0f : NAN;
  }
  void SetAt(int64_t index, float value, float scale) const {
    if (dtype_ == DType::kFloat32) {
      reinterpret_cast<float*>(data_)[index] = value;
    } else if (dtype_ == DType::kInt8) {
      reinterpret_cast<int8_t*>(data_)[index] =
          scale > 0 ? static_cast<int8_t>(std::min(127.0f, std::max(-127.0f, std::nearbyint(value / scale))))
                    : int8_t{0};
    } else {
      reinterpret_cast<uint16_t*>(data_)[index] =
          dtype_ == DType::kFloat16 ? FloatToFloat16(value) : FloatToBFloat16(value);
    }
  }

  DType dtype_;
  int64_t width_;
  std::byte* data_;
  float* scales_;
};

void KvWrite(const Args& args) {
  const int64_t layer = args.Int("layer");
  const KvPool& pool = CheckKvWrite(args.context, layer);
  const int64_t heads = pool.shape().kv_heads, width = pool.shape().head_dim;
  for (int64_t t = 0; t < args.In(3).shape[0]; ++t) {
    const int64_t slot = args.In(3).As<int64_t>()[t];
    if (slot < 0) continue;
    for (int64_t head = 0; head < heads; ++head)
      HeadBlock(pool, layer, slot / kBlock, head)
          .Store(slot % kBlock, args.In(1).As<float>() + (t * heads + head) * width,
                 args.In(2).As<float>() + (t * heads + head) * width);
  }
  *args.context.output_objects[0] = *args.context.input_objects[0];
}

// One query of one head over positions [first, last].
class Query {
 public:
  Query(const PagedStep& step, const PagedAttributes& attributes, const int64_t* blocks, int64_t kv_head)
      : step_(step), attributes_(attributes), blocks_(blocks), kv_head_(kv_head) {}

  void Run(const float* q, int64_t first, int64_t last, float* out) const {
    const int64_t width = step_.head_dim;
    std::vector<float> sum(width, 0.0f), part(width);
    float most = -INFINITY, weights = 0;
    for (int64_t chunk = first / kChunk; chunk <= last / kChunk; ++chunk) {
      const float chunk_weights =
          Chunk(q, std::max(first, chunk * kChunk), std::min(last + 1, (chunk + 1) * kChunk), part);
      const float next = std::max(most, chunk_most_);
      const float keep = most == next ? 1.0f : std::exp(most - next);
      const float take = chunk_most_ == next ? 1.0f : std::exp(chunk_most_ - next);
      weights = weights * keep + chunk_weights * take;
      for (int64_t i = 0; i < width; ++i) sum[i] = sum[i] * keep + part[i] * take;
      most = next;
    }
    for (int64_t i = 0; i < width; ++i) out[i] = sum[i] / weights;
  }

 private:
  HeadBlock At(int64_t position) const {
    return HeadBlock(*step_.pool, attributes_.layer, blocks_[position / kBlock], kv_head_);
  }
  // The sum of the weights of positions [begin, end), relative to their largest score; `part`: of weighted values.
  float Chunk(const float* q, int64_t begin, int64_t end, std::vector<float>& part) const {
    std::array<float, kChunk> scores;
    chunk_most_ = -INFINITY;
    for (int64_t p = begin; p < end; ++p) {
      float dot = 0;
      for (int64_t i = 0; i < step_.head_dim; ++i) dot += q[i] * At(p).Key(p % kBlock, i);
      float score = dot * attributes_.scale;
      if (attributes_.softcap > 0) score = attributes_.softcap * std::tanh(score / attributes_.softcap);
      scores[p - begin] = score;
      chunk_most_ = std::max(chunk_most_, score);
    }
    float weights = 0;
    std::fill(part.begin(), part.end(), 0.0f);
    for (int64_t p = begin; p < end; ++p) {
      const float weight = std::exp(scores[p - begin] - chunk_most_);
      weights += weight;
      for (int64_t i = 0; i < step_.head_dim; ++i) part[i] += weight * At(p).Value(p % kBlock, i);
    }
    return weights;
  }

  const PagedStep& step_;
  const PagedAttributes& attributes_;
  const int64_t* blocks_;
  int64_t kv_head_;
  mutable float chunk_most_ = 0;
};

void PagedAttention(const Args& args) {
  const PagedAttributes attributes(args.node);
  const PagedStep step(args.context, attributes);
  const int64_t heads = attributes.heads, width = step.head_dim, group = heads / attributes.kv_heads;
  const float* q = args.In(0).As<float>();
  float* out = args.Out(0).As<float>();
  std::fill_n(out, args.Out(0).Count(), 0.0f);
  for (int64_t s = 0; s < step.sequences; ++s)
    for (int64_t t = step.starts[s]; t < step.starts[s + 1]; ++t)
      for (int64_t head = 0; head < heads; ++head)
        Query(step, attributes, step.table + s * step.table_row, head / group)
            .Run(q + (t * heads + head) * width, PagedStep::First(attributes, step.positions[t]), step.positions[t],
                 out + (t * heads + head) * width);
}

constexpr PlainOp kOps[] = {{"Dequantize", Dequantize}, {"KvWrite", KvWrite}, {"PagedAttention", PagedAttention}};

}  // namespace

std::span<const PlainOp> LanguageOps() { return kOps; }

}  // namespace ziggurat::plain
