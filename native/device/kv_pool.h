// The KV cache of language models: keys and values of all layers in blocks of 32 tokens.
//
// Who owns which block is the generator's business; kernels only see slots and block tables. A block of a layer holds,
// head by head: the keys as [head_dim][32] (so that scores of neighbouring tokens are neighbours), the values as
// [32][head_dim], and for int8 32 float32 scales of keys, then of values, one a token.
#pragma once

#include <memory>

#include "device/device.h"
#include "memory/budget.h"
#include "memory/pool.h"

namespace ziggurat {

struct KvShape {
  int64_t layers = 0, kv_heads = 0, head_dim = 0;
  int64_t blocks = 0;             // of 32 tokens, in each layer
  DType dtype = DType::kFloat16;  // float32, float16, bfloat16 or int8
};

class KvPool : public Resource {
 public:
  static constexpr int64_t kBlockTokens = 32;

  // Takes all of its memory now. Throws kInvalidArgument for a shape that cannot be, kOutOfMemory with the numbers.
  KvPool(std::shared_ptr<Pool> memory, std::shared_ptr<Budget> budget, const KvShape& shape);

  // Bytes of one block over all layers: how many blocks a number of bytes holds.
  static size_t BlockBytes(const KvShape& shape);

  std::string_view kind() const override { return "kv_pool"; }
  // What a failed run has written is not seen: a slot holds something once its owner counts it as held, and the next
  // run writes it again before it reads it.
  int64_t Checkpoint() const override { return 0; }
  void Restore(int64_t) override {}

  const KvShape& shape() const { return shape_; }
  size_t bytes() const { return static_cast<size_t>(layer_bytes_) * static_cast<size_t>(shape_.layers); }
  // The first block of a layer; blocks follow one another at block_stride() bytes, heads of a block at head_stride().
  std::byte* Layer(int64_t layer) const { return buffer_.data() + layer * layer_bytes_; }
  int64_t block_stride() const { return head_bytes_ * shape_.kv_heads; }
  int64_t head_stride() const { return head_bytes_; }

  // Copies a block in all layers: a sequence forks, and one of the two will write. Not while a run uses the pool.
  void CopyBlock(int64_t from, int64_t to);

 private:
  KvShape shape_;
  int64_t head_bytes_ = 0, layer_bytes_ = 0;
  std::shared_ptr<Budget> budget_;  // outlives the reservation
  Reservation reservation_;
  Buffer buffer_;
};

// The pool of a kernel's input; throws kInvalidArgument where there is none.
KvPool& KvPoolOf(const KernelContext& context, int input);

}  // namespace ziggurat
