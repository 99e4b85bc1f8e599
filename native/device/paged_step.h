// What a launch of zig.PagedAttention works on, with every number checked that leads to memory.
#pragma once

#include <algorithm>

#include "device/kv_pool.h"

namespace ziggurat {

struct PagedAttributes {
  int64_t layer = 0, heads = 0, kv_heads = 0, window = 0;
  float scale = 1, softcap = 0;

  PagedAttributes() = default;
  explicit PagedAttributes(const Node& node)
      : layer(node.Int("layer")),
        heads(node.Int("heads")),
        kv_heads(node.Int("kv_heads")),
        window(node.Int("window")),
        scale(node.Float("scale")),
        softcap(node.Float("softcap")) {}
};

struct PagedStep {
  // Throws kInvalidArgument for a pool of another shape, sequences that are not in order, a position beyond the
  // sequence's blocks or a block that the pool does not have.
  PagedStep(const KernelContext& context, const PagedAttributes& attributes);

  // The first position that the query at `position` sees.
  static int64_t First(const PagedAttributes& attributes, int64_t position) {
    return attributes.window > 0 ? std::max<int64_t>(0, position - attributes.window + 1) : 0;
  }

  const KvPool* pool = nullptr;
  int64_t tokens = 0, sequences = 0, head_dim = 0;
  int64_t table_row = 0;               // blocks a row of the table
  const int64_t* positions = nullptr;  // [tokens]
  const int64_t* starts = nullptr;     // [sequences + 1]
  const int64_t* table = nullptr;      // [sequences, table_row]
};

// The pool and layer of a launch of zig.KvWrite, its shapes and slots checked.
const KvPool& CheckKvWrite(const KernelContext& context, int64_t layer);

}  // namespace ziggurat
