// Attention as exporters spell it out, in one op: softmax(scale Q K^T + bias) V.
//
// Q, K and V are [batch, heads, sequence, size], or [batch, sequence, heads * size] as projections leave them; each
// may come either way. With sequence_first all of them, and the output, are [sequence, batch, heads * size], as in
// PyTorch's nn.MultiheadAttention. The bias broadcasts to the scores. Unlike the standard's Attention, a query that may
// look nowhere gives what the softmax of minus infinities gives, NaN, unless nan_is_zero.
#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

enum Inputs { kQ, kK, kV, kBias };

std::vector<Dim> HeadShape(const InferContext& c, int i, int64_t heads) {
  const auto& in = c.InputShape(i);
  if (in.size() == 4) return {in[0], c.Same(in[1], heads, "heads and num_heads"), in[2], in[3]};
  if (in[2].IsConst() && in[2].Const() % heads != 0)
    c.Fail("hidden size ", in[2].Const(), " does not divide into ", heads, " heads");
  if (c.node().Int("sequence_first")) return {in[1], heads, in[0], FloorDiv(in[2], heads)};
  return {in[0], heads, in[1], FloorDiv(in[2], heads)};
}

void InferFusedAttention(InferContext& c) {
  const int64_t heads = c.node().Int("num_heads");
  if (heads < 1) c.Fail("num_heads is ", heads);
  const bool sequence_first = c.node().Int("sequence_first") != 0;
  if (sequence_first && !c.node().Int("merge_heads")) c.Fail("sequence_first without merge_heads");
  for (int i : {kQ, kK, kV}) c.ExpectRank(i, 3, sequence_first ? 3 : 4);
  c.ExpectRank(kBias, 0, 4);
  if (!c.HasRank(kQ) || !c.HasRank(kK) || !c.HasRank(kV)) return c.SetUnranked(0, c.InputDType(kQ));
  const auto q = HeadShape(c, kQ, heads), k = HeadShape(c, kK, heads), v = HeadShape(c, kV, heads);
  c.Same(q[0], k[0], "batches of Q and K"), c.Same(k[0], v[0], "batches of K and V");
  c.Same(q[3], k[3], "head sizes of Q and K"), c.Same(k[2], v[2], "sequence lengths of K and V");
  const std::vector<Dim> scores = {q[0], q[1], q[2], k[2]};
  if (c.HasRank(kBias)) {
    const auto& bias = c.InputShape(kBias);
    for (size_t i = 0; i < bias.size(); ++i)
      if (!bias[i].IsConst(1)) c.Same(scores[4 - bias.size() + i], bias[i], "dimensions of scores and bias");
  }
  if (sequence_first)
    c.SetOutput(0, c.InputDType(kQ), {q[2], q[0], q[1] * v[3]});
  else if (c.node().Int("merge_heads"))
    c.SetOutput(0, c.InputDType(kQ), {q[0], q[2], q[1] * v[3]});
  else
    c.SetOutput(0, c.InputDType(kQ), {q[0], q[1], q[2], v[3]});
}

Value* Swap(Expander& e, Value* x, std::vector<int64_t> perm) {
  return e.Op("Transpose", {x}, {{"perm", std::move(perm)}});
}

Value* Heads(Expander& e, int i) {
  Value* x = e.Wide(e.In(i));
  if (e.Rank(x) == 4) return x;
  Value* split = e.Reshape(x, {0, 0, e.node().Int("num_heads"), -1});
  return Swap(e, split,
              e.node().Int("sequence_first") ? std::vector<int64_t>{1, 2, 0, 3} : std::vector<int64_t>{0, 2, 1, 3});
}

void ExpandFusedAttention(Expander& e) {
  Value* scores = e.Op("MatMul", {Heads(e, kQ), Swap(e, Heads(e, kK), {0, 1, 3, 2})});
  scores = e.Op("Mul", {scores, e.ScalarLike(scores, e.node().Float("scale"))});
  if (e.HasIn(kBias)) scores = e.Op("Add", {scores, e.Wide(e.In(kBias))});
  Value* weights = e.Op("Softmax", {scores}, {{"axis", int64_t{-1}}});
  if (e.node().Int("nan_is_zero"))
    weights = e.Op("Where", {e.Op("IsNaN", {weights}), e.ScalarLike(weights, 0), weights});
  Value* y = e.Op("MatMul", {weights, Heads(e, kV)});
  if (e.node().Int("sequence_first"))
    y = e.Reshape(Swap(e, y, {2, 0, 1, 3}), {0, 0, -1});
  else if (e.node().Int("merge_heads"))
    y = e.Reshape(Swap(e, y, {0, 2, 1, 3}), {0, 0, -1});
  e.Return(0, y);
}

}  // namespace

constexpr OpDef kOp_ZigFusedAttention = {
    .name = "FusedAttention",
    .domain = "zig",
    .inputs = {{"Q", kFloats, 'T'}, {"K", kFloats, 'T'}, {"V", kFloats, 'T'}, {"bias", kFloats, 'T', Param::kOptional}},
    .attributes = {attr::Int("merge_heads", 0), attr::Int("nan_is_zero", 0), attr::Required(attr::Int("num_heads")),
                   attr::Float("scale", 1.0f), attr::Int("sequence_first", 0)},
    .infer = InferFusedAttention,
    .expand = ExpandFusedAttention,
};

}  // namespace ziggurat
