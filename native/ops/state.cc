// Ops over a Resource: a KV cache is appended to and attended over. Order follows the resource's SSA versions.
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

void InferAppend(InferContext& c) {
  c.ExpectRank(1, 3, 3);
  c.SetOutput(0, Type::Resource());
}

void InferAttention(InferContext& c) {
  c.ExpectRank(0, 3, 3);
  c.SetOutput(0, c.InputType(0));
}

}  // namespace

// Appends x [heads, tokens, width] and gives the resource's next version.
constexpr OpDef kOp_ZigKvAppend = {
    .name = "KvAppend",
    .domain = "zig",
    .inputs = {{.name = "cache", .takes = Param::kResource}, {.name = "x", .types = kFloat32s}},
    .infer = &InferAppend,
    .effects = {{0, 0}},
};

// Causal attention of the last tokens: q [query heads, tokens, width] over keys and values of all tokens so far. The
// query of the token at position p sees positions 0..p. Query heads share key heads in groups of equal size.
constexpr OpDef kOp_ZigKvAttention = {
    .name = "KvAttention",
    .domain = "zig",
    .inputs = {{.name = "q", .types = kFloat32s},
               {.name = "keys", .takes = Param::kResource},
               {.name = "values", .takes = Param::kResource}},
    .attributes = {attr::Float("scale", 1.0f)},
    .infer = &InferAttention,
    .effects = {{1, -1}, {2, -1}},
};

}  // namespace ziggurat
