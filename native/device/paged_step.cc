#include "device/paged_step.h"

namespace ziggurat {
namespace {

template <typename... Parts>
[[noreturn]] void Fail(const Parts&... parts) {
  throw Error(Code::kInvalidArgument, parts...);
}

void CheckLayer(const KvPool& pool, int64_t layer) {
  if (layer >= pool.shape().layers) Fail("layer ", layer, " of a KV pool of ", pool.shape().layers, " layers");
}

}  // namespace

PagedStep::PagedStep(const KernelContext& context, const PagedAttributes& attributes) {
  pool = &KvPoolOf(context, 1);
  CheckLayer(*pool, attributes.layer);
  const TensorView& q = context.inputs[0];
  head_dim = pool->shape().head_dim;
  tokens = q.shape[0];
  sequences = context.inputs[4].shape[0];
  table_row = context.inputs[4].shape[1];
  positions = context.inputs[2].As<const int64_t>();
  starts = context.inputs[3].As<const int64_t>();
  table = context.inputs[4].As<const int64_t>();
  if (pool->shape().kv_heads != attributes.kv_heads || q.shape[1] != attributes.heads * head_dim)
    Fail("queries ", q.shape, " of ", attributes.heads, " heads do not fit a KV pool of ", pool->shape().kv_heads,
         " heads of width ", head_dim);
  if (context.inputs[2].shape[0] != tokens || context.inputs[3].shape[0] != sequences + 1)
    Fail(tokens, " tokens and ", sequences, " sequences, but ", context.inputs[2].shape[0], " positions and ",
         context.inputs[3].shape[0], " starts");
  int64_t before = 0;
  for (int64_t i = 0; i <= sequences; before = starts[i], ++i)
    if (starts[i] < before || starts[i] > tokens)
      Fail("start ", starts[i], " of sequence ", i, " is not between ", before, " and ", tokens);
  for (int64_t i = 0; i < sequences; ++i) {
    if (starts[i] == starts[i + 1]) continue;
    int64_t least = positions[starts[i]], most = least;
    for (int64_t t = starts[i]; t < starts[i + 1]; ++t)
      least = std::min(least, positions[t]), most = std::max(most, positions[t]);
    if (least < 0 || most >= table_row * KvPool::kBlockTokens)
      Fail("positions ", least, " to ", most, " of sequence ", i, " do not lie in ", table_row, " blocks");
    for (int64_t b = First(attributes, least) / KvPool::kBlockTokens; b <= most / KvPool::kBlockTokens; ++b)
      if (const int64_t block = table[i * table_row + b]; block < 0 || block >= pool->shape().blocks)
        Fail("block ", block, " of sequence ", i, " is out of range for ", pool->shape().blocks);
  }
}

const KvPool& CheckKvWrite(const KernelContext& context, int64_t layer) {
  const KvPool& pool = KvPoolOf(context, 0);
  CheckLayer(pool, layer);
  const TensorView &k = context.inputs[1], &v = context.inputs[2], &slots = context.inputs[3];
  const int64_t width = pool.shape().kv_heads * pool.shape().head_dim;
  if (k.shape[1] != width || !(k.shape == v.shape) || slots.shape[0] != k.shape[0])
    Fail("keys ", k.shape, ", values ", v.shape, " and ", slots.shape[0], " slots do not fit a KV pool of ",
         pool.shape().kv_heads, " heads of width ", pool.shape().head_dim);
  const int64_t limit = pool.shape().blocks * KvPool::kBlockTokens;
  for (int64_t t = 0; t < slots.shape[0]; ++t)
    if (slots.As<const int64_t>()[t] >= limit)
      Fail("slot ", slots.As<const int64_t>()[t], " is out of range for ", pool.shape().blocks, " blocks");
  return pool;
}

}  // namespace ziggurat
