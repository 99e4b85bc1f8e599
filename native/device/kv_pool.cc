#include "device/kv_pool.h"

#include <cstring>

namespace ziggurat {
namespace {

// 0 where the shape is beyond 64 bits.
int64_t Times(int64_t a, int64_t b) {
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? 0 : product;
}

// A head's part of a block, in a multiple of 64 bytes.
int64_t HeadBytes(const KvShape& shape) {
  const int64_t elements = 2 * Times(KvPool::kBlockTokens, shape.head_dim);
  int64_t bytes = Times(elements, static_cast<int64_t>(ByteSize(shape.dtype)));
  if (shape.dtype == DType::kInt8) bytes += 2 * KvPool::kBlockTokens * static_cast<int64_t>(sizeof(float));
  return (bytes + 63) / 64 * 64;
}

void Check(const KvShape& shape) {
  if (shape.dtype != DType::kFloat32 && shape.dtype != DType::kFloat16 && shape.dtype != DType::kBFloat16 &&
      shape.dtype != DType::kInt8)
    throw Error(Code::kInvalidArgument, "a KV cache holds float32, float16, bfloat16 or int8, not ", Name(shape.dtype));
  for (int64_t size : {shape.layers, shape.kv_heads, shape.head_dim, shape.blocks})
    if (size < 1 || size > (int64_t{1} << 32))
      throw Error(Code::kInvalidArgument, "a KV cache of ", shape.layers, " layers, ", shape.kv_heads,
                  " heads of width ", shape.head_dim, " and ", shape.blocks, " blocks cannot be");
}

}  // namespace

size_t KvPool::BlockBytes(const KvShape& shape) {
  return static_cast<size_t>(Times(Times(HeadBytes(shape), shape.kv_heads), shape.layers));
}

KvPool::KvPool(std::shared_ptr<Pool> memory, std::shared_ptr<Budget> budget, const KvShape& shape)
    : shape_(shape), budget_(std::move(budget)) {
  Check(shape);
  const int64_t bytes = Times(static_cast<int64_t>(BlockBytes(shape)), shape.blocks);
  if (bytes == 0) throw Error(Code::kOutOfMemory, "a KV cache of ", shape.blocks, " blocks is beyond any memory");
  head_bytes_ = HeadBytes(shape);
  layer_bytes_ = head_bytes_ * shape.kv_heads * shape.blocks;
  reservation_ = budget_->Reserve(static_cast<size_t>(bytes), "the KV cache");
  buffer_ = memory->Allocate(static_cast<size_t>(bytes), Life::kHeld);
}

void KvPool::CopyBlock(int64_t from, int64_t to) {
  for (int64_t block : {from, to})
    if (block < 0 || block >= shape_.blocks)
      throw Error(Code::kInvalidArgument, "block ", block, " is out of range for ", shape_.blocks);
  if (from == to) return;
  for (int64_t layer = 0; layer < shape_.layers; ++layer)
    std::memcpy(Layer(layer) + to * block_stride(), Layer(layer) + from * block_stride(),
                static_cast<size_t>(block_stride()));
}

KvPool& KvPoolOf(const KernelContext& context, int input) {
  auto* pool = context.input_objects.empty() || !context.input_objects[input]
                   ? nullptr
                   : dynamic_cast<KvPool*>(context.input_objects[input]->resource.get());
  if (!pool) throw Error(Code::kInvalidArgument, "input ", input, " must be a KV pool");
  return *pool;
}

}  // namespace ziggurat
