// Attention in the spellings that exporters use becomes zig.FusedAttention:
//
//   weights = Softmax(scale * (Q K^T) + bias)       y = weights V       or y^T = V^T weights^T
//
// The scale may stand before the product (on one factor or on both), after it, or be a division; biases may be added
// and masks written over the scores in any order (attention_scores.h). Weights may be guarded by Where(IsNaN(w), 0, w).
// Batch and heads may be one dimension, of all or of some of the values. Q, K and V are taken before heads were split
// off by Reshape and Transpose, and y after heads were merged, where that is so; with the batch first or the sequence.
#include "passes/attention_scores.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

bool HasPerm(const Node& node, const std::vector<int64_t>& perm) { return node.Ints("perm") == perm; }

// The last two dimensions change places.
bool IsTurn(const Node& node) { return HasPerm(node, {0, 1, 3, 2}) || HasPerm(node, {0, 2, 1}); }

Value* Turn(Value* value, Node& before) {
  const bool joined = value->type.Rank() == 3;
  const std::vector<int64_t> perm = joined ? std::vector<int64_t>{0, 2, 1} : std::vector<int64_t>{0, 1, 3, 2};
  return Insert(&before, "Transpose", {value}, {{"perm", perm}});
}

class Recognizer {
 public:
  Recognizer(Graph& graph, const PassContext& context) : graph_(graph), context_(context) {}

  // `node` multiplies weights with values, or turned values with turned weights.
  bool Try(Node& node) {
    const Type& type = node.Output(0)->type;
    if (type.dtype != DType::kFloat32 || !type.HasRank()) return false;
    if (!context_.Supports(GetOp("FusedAttention", "zig"), type.dtype)) return false;
    nan_is_zero_ = false, is_turned_ = false, keys_ = {};
    ScorePath path(graph_);
    if (!FollowWeights(node, path)) return false;
    FollowFactors(*path.product());
    if (!FindHeads(path)) return false;
    if (TrySequenceFirst(node, path)) return true;

    Node* last = &node;
    const bool merged = heads_ && !is_turned_ ? FollowMerge(last) : true;
    const Scaled q = WithoutScale(Projected(q_.value, node), graph_), k = WithoutScale(ProjectedKeys(node), graph_);
    const auto scale = static_cast<float>(path.scale() * q_.factor * q.factor * keys_.factor * k.factor);
    std::vector<Value*> inputs = {q.value, k.value, is_turned_ ? Turn(v_, node) : Projected(v_, node)};
    if (Value* bias = path.Bias(node, heads_)) inputs.push_back(bias);
    Attributes attributes = {{"num_heads", heads_ ? heads_ : int64_t{1}}, {"scale", scale}};
    if (merged) attributes["merge_heads"] = int64_t{1};
    return Replace(last->Output(0), AsBefore(AddFused(node, std::move(inputs), std::move(attributes), *last), *last));
  }

 private:
  // Keys, from the product's right-hand side back: [.., keys, size], or the projection whose heads were split off.
  struct Keys {
    Value* value = nullptr;
    double factor = 1;
    bool is_split = false;       // value is [batch, keys, heads, size]
    bool is_first = false;       // value is [keys, batch * heads, size]
    bool is_turned = false;      // value is [.., size, keys]
    Value* projected = nullptr;  // the [batch, keys, heads * size] behind that
  };

  bool FollowWeights(Node& node, ScorePath& path) {
    Value* weights = node.Input(0);
    v_ = node.Input(1);
    if (Node* turn = Maker(v_, graph_, "Transpose");
        turn && HasPerm(*turn, {0, 1, 3, 2}) && UsedOnce(v_) && Maker(turn->Input(0), graph_, "Softmax")) {
      is_turned_ = true;
      v_ = weights, weights = turn->Input(0);
    }
    if (Value* viewed = BehindHeadsView(weights, graph_); viewed && UsedOnce(weights)) weights = viewed;
    weights = Unguarded(weights);
    Node* softmax = Maker(weights, graph_, "Softmax");
    if (!softmax) return false;
    const Value* scores = softmax->Input(0);
    const int64_t axis = softmax->Int("axis", -1);
    return scores->type.HasRank() && (axis == -1 || axis == scores->type.Rank() - 1) && path.Follow(softmax->Input(0));
  }

  Value* Unguarded(Value* weights) {
    Node* where = Maker(weights, graph_, "Where");
    if (!where) return UsedOnce(weights) ? weights : nullptr;
    Value* inner = where->Input(2);
    Node* test = Maker(where->Input(0), graph_, "IsNaN");
    const bool zero = IsScalar(where->Input(1), 0);
    if (!test || test->Input(0) != inner || !zero || !UsedOnce(weights)) return nullptr;
    if (!UsedOnce(where->Input(0)) || inner->users.size() != 2 || inner->graph_output_uses) return nullptr;
    nan_is_zero_ = true;
    return inner;
  }

  void FollowFactors(Node& product) {
    q_ = WithoutScale(product.Input(0), graph_);
    keys_shape_ = *product.Input(1)->type.shape;
    std::swap(keys_shape_.end()[-1], keys_shape_.end()[-2]);
    Scaled turned = WithoutScale(product.Input(1), graph_);
    if (Value* viewed = BehindHeadsView(turned.value, graph_)) turned.value = viewed;
    Node* transpose = Maker(turned.value, graph_, "Transpose");
    if (transpose && IsTurn(*transpose)) {
      const Scaled keys = WithoutScale(transpose->Input(0), graph_);
      keys_ = {.value = keys.value, .factor = turned.factor * keys.factor};
    } else if (transpose && HasPerm(*transpose, {0, 2, 3, 1})) {
      keys_ = {.value = transpose->Input(0), .factor = turned.factor, .is_split = true};
      keys_.projected = BeforeSplit(keys_.value);
    } else if (transpose && HasPerm(*transpose, {1, 2, 0})) {
      keys_ = {.value = transpose->Input(0), .factor = turned.factor, .is_first = true};
    } else {
      keys_ = {.value = turned.value, .factor = turned.factor, .is_turned = true};
    }
  }

  // Whether batch and heads are known apart (heads_ > 0), and everything fits together: nothing broadcasts.
  bool FindHeads(const ScorePath& path) {
    const std::vector<Dim>* known = path.shape();
    for (Value* value : {q_.value, v_})
      if (!known) known = ShapeOf4(value) ? ShapeOf4(value) : ShapeOf4Behind(value);
    heads_ = 0;
    std::vector<Dim> first;
    if (const Value* projected = known ? nullptr : BeforeSequenceFirst(q_.value)) {
      const auto &from = *projected->type.shape, &to = *q_.value->type.shape;
      first = {from[1], from[2].Const() / to[2].Const()};
      known = &first;
    }
    if (known) {
      if (!(*known)[1].IsConst() || (*known)[1].Const() < 1) return false;
      batch_ = (*known)[0], heads_ = (*known)[1].Const();
    }
    if (!known && (is_turned_ || keys_.is_split)) return false;
    std::vector<Dim> values = *v_->type.shape;
    if (is_turned_ && (!ShapeOf4(v_) || !values[2].IsConst() || values[2].Const() < 1)) return false;
    if (is_turned_) std::swap(values.end()[-1], values.end()[-2]);
    const std::vector<Dim>& q = *q_.value->type.shape;
    return LeadsAre(q) && LeadsAre(keys_shape_) && LeadsAre(values) && q.back() == keys_shape_.back() &&
           keys_shape_.end()[-2] == values.end()[-2] &&
           (keys_.is_first || LeadsAre(*keys_.value->type.shape, keys_.is_split));
  }

  // True if the shape begins with the batch and the heads, or with their product; where heads are not known, with what
  // the queries begin with.
  bool LeadsAre(const std::vector<Dim>& shape, bool is_split = false) const {
    if (is_split) return shape.size() == 4 && shape[0] == batch_ && shape[2].IsConst(heads_);
    if (!heads_) return shape.size() == 3 && shape[0] == q_.value->type.shape->front();
    if (shape.size() == 3) return shape[0] == batch_ * Dim(heads_);
    return shape.size() == 4 && shape[0] == batch_ && shape[1].IsConst(heads_);
  }

  const std::vector<Dim>* ShapeOf4Behind(const Value* value) const {
    const Value* viewed = BehindHeadsView(value, graph_);
    return viewed ? ShapeOf4(viewed) : nullptr;
  }

  // The value as [batch, heads, sequence, size], or as it is where the heads are not known.
  Value* Given(Value* value, Node& before) {
    if (!heads_ || ShapeOf4(value)) return value;
    Value* viewed = BehindHeadsView(value, graph_);
    return viewed && LeadsAre(*viewed->type.shape) ? viewed : ViewHeads(value, heads_, before);
  }

  // The projection [batch, sequence, heads * size] that the value's heads were split off from, or the value itself.
  Value* Projected(Value* value, Node& before) {
    value = Given(value, before);
    Node* transpose = Maker(value, graph_, "Transpose");
    if (!heads_ || !transpose || !HasPerm(*transpose, {0, 2, 1, 3})) return value;
    Value* projected = BeforeSplit(transpose->Input(0));
    return projected ? projected : value;
  }

  Value* ProjectedKeys(Node& before) {
    if (keys_.projected) return keys_.projected;
    if (keys_.is_turned) return Turn(Given(keys_.value, before), before);
    if (keys_.is_first) {
      Value* turned = Insert(&before, "Transpose", {keys_.value}, {{"perm", std::vector<int64_t>{1, 0, 2}}});
      return Given(turned, before);
    }
    if (!keys_.is_split) return Projected(keys_.value, before);
    return Insert(&before, "Transpose", {keys_.value}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  }

  // The [sequence, batch, heads * size] behind a value of heads that a Reshape and a Transpose of the first two of
  // [sequence, batch * heads, size] made; or null.
  Value* BeforeSequenceFirst(Value* value) {
    if (Value* viewed = ShapeOf4(value) ? BehindHeadsView(value, graph_) : nullptr) value = viewed;
    Node* transpose = Maker(value, graph_, "Transpose");
    return transpose && HasPerm(*transpose, {1, 0, 2}) ? BeforeJoin(transpose->Input(0)) : nullptr;
  }

  // The [sequence, batch, heads * size] behind a Reshape to [sequence, batch * heads, size]; or null.
  Value* BeforeJoin(Value* joined) {
    Node* reshape = Maker(joined, graph_, "Reshape");
    if (!reshape || !reshape->Input(0)->type.HasRank() || reshape->Input(0)->type.Rank() != 3) return nullptr;
    const auto &from = *reshape->Input(0)->type.shape, &to = *joined->type.shape;
    if (to.size() != 3 || !(from[0] == to[0]) || !from[2].IsConst() || !to[2].IsConst() || to[2].Const() < 1)
      return nullptr;
    const bool fits = from[2].Const() % to[2].Const() == 0 && to[1] == from[1] * Dim(from[2].Const() / to[2].Const());
    return fits ? reshape->Input(0) : nullptr;
  }

  // nn.MultiheadAttention: queries, keys and values with the sequence first, and a result that is brought back to that.
  bool TrySequenceFirst(Node& node, ScorePath& path) {
    if (!heads_ || is_turned_) return false;
    Value* k = keys_.is_first ? BeforeJoin(keys_.value) : BeforeSequenceFirst(keys_.value);
    Value *q = BeforeSequenceFirst(q_.value), *v = BeforeSequenceFirst(v_);
    Node* last = SequenceFirstAfter(node);
    if (!q || !k || !v || !last) return false;
    for (const Value* projected : {q, k, v})
      if (!((*projected->type.shape)[1] == batch_)) return false;  // so its heads are heads_ too
    const auto scale = static_cast<float>(path.scale() * q_.factor * keys_.factor);
    std::vector<Value*> inputs = {q, k, v};
    if (Value* bias = path.Bias(node, heads_)) inputs.push_back(bias);
    const Attributes attributes = {
        {"num_heads", heads_}, {"scale", scale}, {"merge_heads", int64_t{1}}, {"sequence_first", int64_t{1}}};
    Value* made = ViewAs(*last, AddFused(node, std::move(inputs), attributes, *last), *last->Output(0)->type.shape);
    return made && Replace(last->Output(0), made);
  }

  // The Transpose of the result to [sequence, batch, heads, size] or [sequence, batch * heads, size]; or null.
  Node* SequenceFirstAfter(Node& node) {
    Value* y = node.Output(0);
    for (bool viewed : {false, true}) {
      if (!UsedOnce(y)) return nullptr;
      Node* next = y->users[0];
      if (next->op->Is("Transpose")) return HasPerm(*next, {2, 0, 1, 3}) || HasPerm(*next, {1, 0, 2}) ? next : nullptr;
      if (viewed || BehindHeadsView(next->Output(0), graph_) != y) return nullptr;
      y = next->Output(0);
    }
    return nullptr;
  }

  Value* AddFused(const Node& node, std::vector<Value*> inputs, Attributes attributes, Node& before) {
    if (nan_is_zero_) attributes["nan_is_zero"] = int64_t{1};
    const OpDef& fused = GetOp("FusedAttention", "zig");
    return graph_.AddNode(fused, std::move(inputs), std::move(attributes), {""}, node.name, &before)->outputs[0];
  }

  // The [batch, sequence, heads * size] behind a Reshape to [batch, sequence, heads, size]; or null.
  Value* BeforeSplit(Value* split) {
    Node* reshape = Maker(split, graph_, "Reshape");
    const auto* to = ShapeOf4(split);
    if (!reshape || !to || !reshape->Input(0)->type.HasRank() || reshape->Input(0)->type.Rank() != 3) return nullptr;
    const auto& from = *reshape->Input(0)->type.shape;
    const bool fits = from[0] == (*to)[0] && from[1] == (*to)[1] && (*to)[2].IsConst() && (*to)[3].IsConst() &&
                      from[2].IsConst((*to)[2].Const() * (*to)[3].Const());
    return fits ? reshape->Input(0) : nullptr;
  }

  // Takes in the Transpose that brings a position's heads together, and the Reshape that joins them if that alone
  // follows. Where others do, the joined heads are split again, which moves no element.
  bool FollowMerge(Node*& last) {
    Value* y = last->Output(0);
    if (!UsedOnce(y)) return false;
    Node* next = y->users[0];
    if (BehindHeadsView(next->Output(0), graph_) == y && UsedOnce(next->Output(0)) && ShapeOf4(next->Output(0)) &&
        LeadsAre(*ShapeOf4(next->Output(0))))
      next = next->Output(0)->users[0];
    if (!next->op->Is("Transpose") || !HasPerm(*next, {0, 2, 1, 3})) return false;
    Value* turned = next->Output(0);
    const auto& from = *turned->type.shape;
    if (!from[2].IsConst() || !from[3].IsConst() || from[3].Const() < 1) return false;
    last = next;
    if (!UsedOnce(turned) || !turned->users[0]->op->Is("Reshape") || turned->users[0]->Input(0) != turned) return true;
    Node* reshape = turned->users[0];
    if (!reshape->Output(0)->type.HasRank()) return true;
    const auto& to = *reshape->Output(0)->type.shape;
    if (to.size() == 3 && to[0] == from[0] && to[1] == from[1] && to[2].IsConst(from[2].Const() * from[3].Const()))
      last = reshape;
    return true;
  }

  // What attention made, in the shape of the output of `last`.
  Value* AsBefore(Value* made, Node& last) {
    if (last.op->Is("Reshape") || !heads_) return made;
    const std::vector<Dim>& to = *last.Output(0)->type.shape;
    if (last.op->Is("Transpose")) return Split(made, {0, 0, heads_, to[3].Const()}, last);
    if (!is_turned_) return to.size() == 3 ? JoinHeads(made, last) : made;
    // [batch, queries, heads * size] -> [batch, heads, size, queries]
    return Split(Turn(made, last), {0, heads_, to[2].Const(), -1}, last);
  }

  Value* Split(Value* joined, const std::vector<int64_t>& target, Node& before) {
    return Insert(&before, "Reshape", {joined, graph_.AddConstant(Constant::Int64s(target))});
  }

  Graph& graph_;
  const PassContext& context_;
  bool nan_is_zero_ = false, is_turned_ = false;
  Scaled q_{nullptr, 1};
  Keys keys_;
  Value* v_ = nullptr;
  std::vector<Dim> keys_shape_;
  Dim batch_;
  int64_t heads_ = 0;  // 0: not known, batch and heads are one dimension
};

int Run(Graph& graph, PassContext& context) {
  Recognizer recognizer(graph, context);
  int rewrites = 0;
  for (Node* node : NodesOf(graph))
    if (node->op->Is("MatMul") && !node->Output(0)->IsUnused()) rewrites += recognizer.Try(*node);
  return rewrites;
}

}  // namespace

const Pass kRecognizeAttention = {
    .name = "recognize_attention",
    .exactness = Exactness::kApproximate,
    .bound =
        "2^-17 * (1 + sum |scale q k|) * max |v|: scores and weights are rounded in another order, so that weights "
        "differ by the scores' error and sums by a few roundings",
    .proof = "the nodes are the op's expansion, with the scale moved and masked scores written as a sum",
    .run = Run,
};

}  // namespace ziggurat
