// Ops of language models: products with weights that stay encoded, and attention over a paged KV cache.
//
// A step holds the tokens of several sequences, one after the other: t tokens of s sequences. The KV cache is a
// Resource of blocks of 32 tokens (device/kv_pool.h); a slot is block * 32 + offset in the block.
#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

Value* Decoded(Expander& e, Value* weight) { return e.Cast(weight, DType::kFloat32); }

void InferDequantize(InferContext& c) {
  Type type = c.InputType(0);
  if (type.encoding.IsPlain()) c.Fail("the input is not encoded");
  type.encoding = {};
  c.SetOutput(0, std::move(type));
}

void InferLinear(InferContext& c) {
  c.ExpectRank(0, 2);
  c.ExpectRank(1, 2);
  c.ExpectRank(2, 1);
  std::vector<Dim> out(2);
  if (c.HasRank(0) && c.HasRank(1)) c.Same(c.InputShape(0)[1], c.InputShape(1)[1], "columns of x and of w");
  out[0] = c.HasRank(0) ? c.InputShape(0)[0] : c.NewSymbol("rows");
  out[1] = c.HasRank(1) ? c.InputShape(1)[0] : c.NewSymbol("columns");
  if (c.HasInput(2) && c.HasRank(2)) c.Same(c.InputShape(2)[0], out[1], "rows of w and length of bias");
  c.SetOutput(0, DType::kFloat32, std::move(out));
}

void ExpandLinear(Expander& e) {
  std::vector<Value*> inputs = {e.In(0), Decoded(e, e.In(1))};
  if (e.HasIn(2)) inputs.push_back(e.In(2));
  e.Return(0, e.Op("Gemm", std::move(inputs), {{"transB", int64_t{1}}}));
}

void InferEmbed(InferContext& c) {
  c.ExpectRank(0, 2);
  c.ExpectRank(1, 1);
  const Dim tokens = c.HasRank(1) ? c.InputShape(1)[0] : c.NewSymbol("tokens");
  c.SetOutput(0, DType::kFloat32, {tokens, c.HasRank(0) ? c.InputShape(0)[1] : c.NewSymbol("width")});
}

void ExpandEmbed(Expander& e) { e.Return(0, e.Op("Gather", {Decoded(e, e.In(0)), e.In(1)})); }

void InferKvWrite(InferContext& c) {
  for (int i : {1, 2}) c.ExpectRank(i, 2);
  c.ExpectRank(3, 1);
  if (c.node().Int("layer") < 0) c.Fail("layer ", c.node().Int("layer"), " is negative");
  if (c.HasRank(1) && c.HasRank(2))
    for (int axis : {0, 1}) c.Same(c.InputShape(1)[axis], c.InputShape(2)[axis], "dimensions of k and v");
  if (c.HasRank(1) && c.HasRank(3)) c.Same(c.InputShape(1)[0], c.InputShape(3)[0], "tokens of k and slots");
  c.SetOutput(0, Type::Resource());
}

void InferPagedAttention(InferContext& c) {
  c.ExpectRank(0, 2);
  c.ExpectRank(2, 1);
  c.ExpectRank(3, 1);
  c.ExpectRank(4, 2);
  const int64_t heads = c.node().Int("heads"), kv_heads = c.node().Int("kv_heads");
  if (heads < 1 || kv_heads < 1 || heads % kv_heads != 0)
    c.Fail(heads, " heads cannot share ", kv_heads, " key and value heads in groups of equal size");
  if (c.node().Int("layer") < 0 || c.node().Int("window") < 0) c.Fail("layer and window cannot be negative");
  if (c.HasRank(0) && c.InputShape(0)[1].IsConst() && c.InputShape(0)[1].Const() % heads != 0)
    c.Fail("queries of width ", c.InputShape(0)[1].Const(), " are not ", heads, " heads");
  if (c.HasRank(0) && c.HasRank(2)) c.Same(c.InputShape(0)[0], c.InputShape(2)[0], "tokens of q and positions");
  if (c.HasRank(3) && c.HasRank(4) && c.InputShape(3)[0].IsConst() && c.InputShape(4)[0].IsConst() &&
      c.InputShape(3)[0].Const() != c.InputShape(4)[0].Const() + 1)
    c.Fail("starts holds ", c.InputShape(3)[0].Const(), " numbers for ", c.InputShape(4)[0].Const(), " sequences");
  c.SetOutput(0, c.InputType(0));
}

}  // namespace

// The elements of an encoded tensor, exactly as the format defines them.
constexpr OpDef kOp_ZigDequantize = {
    .name = "Dequantize",
    .domain = "zig",
    .inputs = {{.name = "w", .types = kFloat32s, .encoded = true}},
    .infer = InferDequantize,
};

// x w^T + bias: x [t, k], w [n, k] of any encoding. A kernel for encoded weights may round each row of x to 8 bits in
// groups of 32 (largest magnitude / 127, to nearest even), whatever the number of rows.
constexpr OpDef kOp_ZigLinear = {
    .name = "Linear",
    .domain = "zig",
    .inputs = {{"x", kFloat32s},
               {.name = "w", .types = kFloats32, .encoded = true},
               {"bias", kFloat32s, 0, Param::kOptional}},
    .infer = InferLinear,
    .expand = ExpandLinear,
};

// Rows `ids` [t] of w [v, k], as float32. An id outside of w is an error.
constexpr OpDef kOp_ZigEmbed = {
    .name = "Embed",
    .domain = "zig",
    .inputs = {{.name = "w", .types = kFloats32, .encoded = true}, {"ids", kInt64s}},
    .infer = InferEmbed,
    .expand = ExpandEmbed,
};

// Stores keys and values [t, kv_heads * head_dim] of one layer at `slots` [t]. A negative slot stores nothing.
constexpr OpDef kOp_ZigKvWrite = {
    .name = "KvWrite",
    .domain = "zig",
    .inputs = {{.name = "kv", .takes = Param::kResource}, {"k", kFloat32s}, {"v", kFloat32s}, {"slots", kInt64s}},
    .attributes = {attr::Required(attr::Int("layer"))},
    .infer = InferKvWrite,
    .effects = {{0, 0}},
};

// Causal attention: tokens starts[i] to starts[i + 1] belong to sequence i, whose context lies in blocks[i]. The query
// at position p sees positions max(0, p - window + 1) to p, all from 0 where window is 0. Scores are scale * q k; with
// softcap they become softcap * tanh(score / softcap). Tokens of no sequence give zeros.
constexpr OpDef kOp_ZigPagedAttention = {
    .name = "PagedAttention",
    .domain = "zig",
    .inputs = {{"q", kFloat32s},
               {.name = "kv", .takes = Param::kResource},
               {"positions", kInt64s},
               {"starts", kInt64s},
               {"blocks", kInt64s}},
    .attributes = {attr::Required(attr::Int("layer")), attr::Required(attr::Int("heads")),
                   attr::Required(attr::Int("kv_heads")), attr::Required(attr::Float("scale")),
                   attr::Float("softcap", 0.0f), attr::Int("window", 0)},
    .infer = InferPagedAttention,
    .effects = {{1, -1}},
};

}  // namespace ziggurat
