// Attention and rotary positions.
#include <cmath>
#include <limits>

#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

enum Inputs { kQ, kK, kV, kMask, kPastKey, kPastValue, kLengths };

// [batch, heads, sequence, size] of input i, which may come as [batch, sequence, heads * size].
std::vector<Dim> HeadShape(const InferContext& c, int i, int64_t heads) {
  const auto& in = c.InputShape(i);
  if (in.size() == 4) return in;
  if (heads < 1) c.Fail("q_num_heads and kv_num_heads are required with inputs of rank 3");
  if (in[2].IsConst() && in[2].Const() % heads != 0)
    c.Fail("hidden size ", in[2].Const(), " does not divide into ", heads, " heads");
  return {in[0], heads, in[1], FloorDiv(in[2], heads)};
}

void CheckHeads(const InferContext& c, const Dim& query, const Dim& key) {
  if (query.IsConst() && key.IsConst() && (key.Const() < 1 || query.Const() % key.Const() != 0))
    c.Fail(query.Const(), " query heads are no multiple of ", key.Const(), " key heads");
}

void InferAttention(InferContext& c) {
  for (int i : {kQ, kK, kV}) c.ExpectRank(i, 3, 4);
  for (int i : {kPastKey, kPastValue}) c.ExpectRank(i, 4);
  if (c.HasInput(kPastKey) != c.HasInput(kPastValue)) c.Fail("past_key and past_value come together");
  if (c.HasInput(kLengths) && c.HasInput(kPastKey)) c.Fail("nonpad_kv_seqlen and past_key exclude each other");
  if (!c.HasRank(kQ) || !c.HasRank(kK) || !c.HasRank(kV)) {
    for (int i = 0; i < c.num_outputs(); ++i) c.SetUnranked(i, c.InputDType(i == 2 ? kV : kQ));
    return;
  }
  const int64_t query_heads = c.node().Int("q_num_heads"), key_heads = c.node().Int("kv_num_heads");
  const auto q = HeadShape(c, kQ, query_heads), k = HeadShape(c, kK, key_heads), v = HeadShape(c, kV, key_heads);
  CheckHeads(c, q[1], k[1]);
  c.Same(q[3], k[3], "head sizes of Q and K");
  c.Same(k[2], v[2], "sequence lengths of K and V");
  Dim total = k[2];
  if (c.HasInput(kPastKey)) total = total + (c.HasRank(kPastKey) ? c.InputShape(kPastKey)[2] : c.NewSymbol("past"));
  if (c.InputType(kQ).Rank() == 3)
    c.SetOutput(0, c.InputDType(kQ), {q[0], q[2], q[1] * v[3]});
  else
    c.SetOutput(0, c.InputDType(kQ), {q[0], q[1], q[2], v[3]});
  if (c.num_outputs() > 1) c.SetOutput(1, c.InputDType(kQ), {k[0], k[1], total, k[3]});
  if (c.num_outputs() > 2) c.SetOutput(2, c.InputDType(kV), {v[0], v[1], total, v[3]});
  if (c.num_outputs() > 3) c.SetOutput(3, c.InputDType(kQ), {q[0], q[1], q[2], total});
}

// Input i as [batch, heads, sequence, size].
Value* Heads(Expander& e, int i, int64_t heads) {
  if (e.Rank(e.In(i)) == 4) return e.In(i);
  Value* split = e.Reshape(e.In(i), {0, 0, heads, -1});
  return e.Op("Transpose", {split}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
}

// Key or value heads, each repeated for the query heads that share it.
Value* Repeat(Expander& e, Value* x, const Value* query) {
  const Dim &have = (*x->type.shape)[1], &want = (*query->type.shape)[1];
  if (have == want) return x;
  if (!have.IsConst() || !want.IsConst()) e.Fail("the numbers of heads must be known");
  Value* times = e.Ints({want.Const() / have.Const()});
  Value* shape = e.Join({e.ShapeOf(x, 0, 2), times, e.ShapeOf(x, 2, 4)});
  Value* repeated = e.Op("Expand", {e.Op("Unsqueeze", {x, e.Ints({2})}), shape});
  return e.Op("Reshape", {repeated, e.Join({e.ShapeOf(x, 0, 1), e.Ints({want.Const()}), e.ShapeOf(x, 2, 4)})});
}

Value* Scalar0(Expander& e, Value* vector) { return e.Reshape(vector, {}); }

Value* And(Expander& e, Value* a, Value* b) { return a ? e.Op("And", {a, b}) : b; }

// Where query i may look at key j, or null for everywhere: causal, sliding window, and padding.
Value* Allowed(Expander& e, Value* q, Value* k) {
  Value* allowed = nullptr;
  const Node& node = e.node();
  const int64_t left = node.Int("left_window_size", -1), right = node.Int("right_window_size", -1);
  Value* keys = Scalar0(e, e.ShapeOf(k, 2, 3));
  Value* column = e.Op("Range", {e.Int(0), keys, e.Int(1)});
  if (node.Int("is_causal") || left >= 0 || right >= 0) {
    Value* queries = Scalar0(e, e.ShapeOf(q, 2, 3));
    Value* row = e.Op("Unsqueeze", {e.Op("Range", {e.Int(0), queries, e.Int(1)}), e.Ints({1})});
    if (e.HasIn(kPastKey)) {
      row = e.Op("Add", {row, Scalar0(e, e.ShapeOf(e.In(kPastKey), 2, 3))});
    } else if (e.HasIn(kLengths)) {
      Value* offset = e.Op("Sub", {e.Reshape(e.In(kLengths), {-1, 1, 1, 1}), queries});
      row = e.Op("Add", {row, offset});
    }
    if (node.Int("is_causal")) allowed = And(e, allowed, e.Op("LessOrEqual", {column, row}));
    if (left >= 0) allowed = And(e, allowed, e.Op("GreaterOrEqual", {column, e.Op("Sub", {row, e.Int(left)})}));
    if (right >= 0) allowed = And(e, allowed, e.Op("LessOrEqual", {column, e.Op("Add", {row, e.Int(right)})}));
  }
  if (e.HasIn(kLengths)) allowed = And(e, allowed, e.Op("Less", {column, e.Reshape(e.In(kLengths), {-1, 1, 1, 1})}));
  return allowed;
}

// The mask input, stretched with "no" to the number of keys where it is shorter.
Value* Mask(Expander& e, Value* k) {
  Value* mask = e.In(kMask);
  const int rank = e.Rank(mask);
  if (rank == 0 || (*mask->type.shape)[rank - 1] == (*k->type.shape)[2]) return mask;
  Value* missing = e.Op("Sub", {e.ShapeOf(k, 2, 3), e.ShapeOf(mask, rank - 1, rank)});
  const bool boolean = mask->type.dtype == DType::kBool;
  Value* none = e.ScalarLike(mask, boolean ? 0 : -std::numeric_limits<double>::infinity());
  Value* pads = e.Join({e.Ints({0}), e.Op("Max", {missing, e.Ints({0})})});
  return e.Op("Pad", {mask, pads, none, e.Ints({rank - 1})});
}

// What is added to the scores: 0 or -inf, and a mask of numbers. Null: nothing.
Value* Bias(Expander& e, Value* q, Value* k) {
  Value* allowed = Allowed(e, q, k);
  Value* mask = e.HasIn(kMask) ? Mask(e, k) : nullptr;
  if (mask && mask->type.dtype == DType::kBool) {
    allowed = And(e, allowed, mask);
    mask = nullptr;
  }
  if (allowed) {
    Value* never = e.ScalarLike(q, -std::numeric_limits<double>::infinity());
    allowed = e.Op("Where", {allowed, e.ScalarLike(q, 0), never});
  }
  if (mask) mask = e.Cast(mask, q->type.dtype);
  return allowed && mask ? e.Op("Add", {mask, allowed}) : allowed ? allowed : mask;
}

// sqrt(scale), which multiplies both factors so that their product cannot overflow.
Value* RootOfScale(Expander& e, Value* q) {
  if (e.node().Has("scale")) return e.ScalarLike(q, std::sqrt(static_cast<double>(e.node().Float("scale"))));
  const Dim& size = (*q->type.shape)[3];
  if (size.IsConst()) return e.ScalarLike(q, 1.0 / std::sqrt(std::sqrt(static_cast<double>(size.Const()))));
  Value* root = e.Op("Sqrt", {e.Cast(Scalar0(e, e.ShapeOf(q, 3, 4)), DType::kFloat32)});
  return e.Cast(e.Op("Reciprocal", {e.Op("Sqrt", {root})}), q->type.dtype);
}

// Probabilities; a row that may look nowhere is all zero.
Value* Probabilities(Expander& e, Value* scores, Value* bias) {
  const DType dtype = scores->type.dtype;
  Value* wide = scores;
  if (e.node().Has("softmax_precision")) wide = e.Cast(scores, static_cast<DType>(e.node().Int("softmax_precision")));
  // Not Softmax, which would round only once.
  Value* power = e.Op("Exp", {e.Op("Sub", {wide, e.Op("ReduceMax", {wide, e.Ints({-1})})})});
  Value* y = e.Op("Div", {power, e.Op("ReduceSum", {power, e.Ints({-1})})});
  if (bias) {
    Value* best = e.Op("ReduceMax", {bias, e.Ints({-1})});
    Value* nowhere = e.Op("Equal", {best, e.ScalarLike(best, -std::numeric_limits<double>::infinity())});
    y = e.Op("Where", {nowhere, e.ScalarLike(y, 0), y});
  }
  return e.Cast(y, dtype);
}

// In the inputs' own type throughout, rounding after each op, as the standard's function body does.
void ExpandAttention(Expander& e) {
  const Node& node = e.node();
  const bool flat = e.Rank(e.In(kQ)) == 3;
  Value *q = Heads(e, kQ, node.Int("q_num_heads")), *k = Heads(e, kK, node.Int("kv_num_heads"));
  Value* v = Heads(e, kV, node.Int("kv_num_heads"));
  if (e.HasIn(kPastKey)) {
    k = e.Op("Concat", {e.In(kPastKey), k}, {{"axis", int64_t{2}}});
    v = e.Op("Concat", {e.In(kPastValue), v}, {{"axis", int64_t{2}}});
  }
  Value *present_key = k, *present_value = v;
  k = Repeat(e, k, q), v = Repeat(e, v, q);
  Value* root = RootOfScale(e, q);
  Value* transposed = e.Op("Transpose", {k}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
  Value* scores = e.Op("MatMul", {e.Op("Mul", {q, root}), e.Op("Mul", {transposed, root})});
  Value* shown = scores;
  const int64_t mode = node.Int("qk_matmul_output_mode");
  if (const float cap = node.Float("softcap"); cap > 0) {
    Value* limit = e.ScalarLike(scores, cap);
    scores = e.Op("Mul", {e.Op("Tanh", {e.Op("Div", {scores, limit})}), limit});
  }
  if (mode == 1) shown = scores;
  Value* bias = Bias(e, q, k);
  if (bias) scores = e.Op("Add", {scores, bias});
  if (mode == 2) shown = scores;
  Value* probabilities = Probabilities(e, scores, bias);
  if (mode == 3) shown = probabilities;
  Value* y = e.Op("MatMul", {probabilities, e.Cast(v, probabilities->type.dtype)});
  if (flat) y = e.Reshape(e.Op("Transpose", {y}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}}), {0, 0, -1});
  e.Return(0, y);
  e.Return(1, present_key);
  e.Return(2, present_value);
  e.Return(3, shown);
}

void InferRotaryEmbedding(InferContext& c) {
  c.ExpectRank(0, 3, 4);
  c.ExpectRank(3, 2);
  for (int i : {1, 2}) c.ExpectRank(i, c.HasInput(3) ? 2 : 3);
  if (c.HasRank(0) && c.InputType(0).Rank() == 3 && c.node().Int("num_heads") < 1)
    c.Fail("num_heads is required with an input of rank 3");
  c.CopyType(0);
}

// Elements [start, end) of the last axis, every `step`-th.
Value* Last(Expander& e, Value* x, int64_t start, int64_t end, int64_t step = 1) {
  return e.Op("Slice", {x, e.Ints({start}), e.Ints({end}), e.Ints({-1}), e.Ints({step})});
}

Value* Rotated(Expander& e, Value* x, Value* cosine, Value* sine, int64_t size) {
  const bool interleaved = e.node().Int("interleaved") != 0;
  Value* a = interleaved ? Last(e, x, 0, INT64_MAX, 2) : Last(e, x, 0, size / 2);
  Value* b = interleaved ? Last(e, x, 1, INT64_MAX, 2) : Last(e, x, size / 2, INT64_MAX);
  Value* real = e.Op("Sub", {e.Op("Mul", {cosine, a}), e.Op("Mul", {sine, b})});
  Value* imaginary = e.Op("Add", {e.Op("Mul", {sine, a}), e.Op("Mul", {cosine, b})});
  if (!interleaved) return e.Op("Concat", {real, imaginary}, {{"axis", int64_t{-1}}});
  Value* pairs = e.Op("Concat", {e.Op("Unsqueeze", {real, e.Ints({-1})}), e.Op("Unsqueeze", {imaginary, e.Ints({-1})})},
                      {{"axis", int64_t{-1}}});
  return e.Op("Reshape", {pairs, e.ShapeOf(x)});
}

void ExpandRotaryEmbedding(Expander& e) {
  const Attributes swap = {{"perm", std::vector<int64_t>{0, 2, 1, 3}}};
  const bool flat = e.Rank(e.In(0)) == 3;
  Value* x = flat ? e.Reshape(e.In(0), {0, 0, e.node().Int("num_heads"), -1}) : e.Op("Transpose", {e.In(0)}, swap);
  int64_t size = e.node().Int("rotary_embedding_dim");
  const Dim& head = (*x->type.shape)[3];
  if (size == 0 && !head.IsConst()) e.Fail("the head size must be known");
  if (size == 0) size = head.Const();
  Value *cosine = e.In(1), *sine = e.In(2);
  if (e.HasIn(3)) cosine = e.Op("Gather", {cosine, e.In(3)}), sine = e.Op("Gather", {sine, e.In(3)});
  cosine = e.Op("Unsqueeze", {cosine, e.Ints({2})}), sine = e.Op("Unsqueeze", {sine, e.Ints({2})});
  const bool partial = !head.IsConst(size);
  Value* y = Rotated(e, partial ? Last(e, x, 0, size) : x, cosine, sine, size);
  if (partial) y = e.Op("Concat", {y, Last(e, x, size, INT64_MAX)}, {{"axis", int64_t{-1}}});
  e.Return(0, flat ? e.Op("Reshape", {y, e.ShapeOf(e.In(0))}) : e.Op("Transpose", {y}, swap));
}

}  // namespace

constexpr OpDef kOp_Attention = {
    .name = "Attention",
    .inputs = {{"Q", kFloats, '1'},
               {"K", kFloats, '1'},
               {"V", kFloats, '2'},
               {"attn_mask", kNumbers | kBools, 0, Param::kOptional},
               {"past_key", kFloats, '1', Param::kOptional},
               {"past_value", kFloats, '2', Param::kOptional},
               {"nonpad_kv_seqlen", kInt64s, 0, Param::kOptional}},
    .max_outputs = 4,
    .attributes = {attr::Int("is_causal", 0), attr::Int("kv_num_heads"), attr::Int("left_window_size", -1),
                   attr::Int("q_num_heads"), attr::Int("qk_matmul_output_mode", 0), attr::Int("right_window_size", -1),
                   attr::Float("scale"), attr::Float("softcap", 0.0f), attr::Int("softmax_precision")},
    .infer = InferAttention,
    .expand = ExpandAttention,
};
constexpr OpDef kOp_RotaryEmbedding = {
    .name = "RotaryEmbedding",
    .inputs = {{"X", kFloats32, 'T'},
               {"cos_cache", kFloats32, 'T'},
               {"sin_cache", kFloats32, 'T'},
               {"position_ids", kInt64s, 0, Param::kOptional}},
    .attributes = {attr::Int("interleaved", 0), attr::Int("num_heads"), attr::Int("rotary_embedding_dim", 0)},
    .infer = InferRotaryEmbedding,
    .expand = ExpandRotaryEmbedding,
};

}  // namespace ziggurat
