// Attention in the spellings that exporters use becomes zig.FusedAttention:
//
//   weights = Softmax(scale * (Q K^T) + bias)       y = weights V
//
// The scale may stand before the product (on one factor or on both), after it, or be a division. The bias may be added,
// or be a Where that writes a constant over masked scores. Weights may be guarded by Where(IsNaN(w), 0, w). Q, K and V
// are taken before heads were split off by Reshape and Transpose, and y after heads were merged, where that is so.
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

constexpr int kRank = 4;  // of scores: [batch, heads, queries, keys]

const std::vector<Dim>* ShapeOf4(const Value* value) {
  return value->type.HasRank() && value->type.Rank() == kRank ? &*value->type.shape : nullptr;
}

// The node that makes the value, if it is a standard op of that name in the same graph.
Node* Maker(const Value* value, const Graph& graph, std::string_view op) {
  Node* node = value ? value->producer : nullptr;
  return node && node->graph == &graph && node->op->Is(op) && value->output_index == 0 ? node : nullptr;
}

bool HasPerm(const Node& node, const std::vector<int64_t>& perm) { return node.Ints("perm") == perm; }

std::optional<double> ScalarOf(const Value* value) {
  if (!value->IsConstant() || value->constant->shape().Count() != 1) return std::nullopt;
  return UniformReal(value);
}

class Recognizer {
 public:
  Recognizer(Graph& graph, const PassContext& context) : graph_(graph), context_(context) {}

  // `node` multiplies weights with values.
  bool Try(Node& node) {
    Value* y = node.Output(0);
    const DType dtype = y->type.dtype;
    const OpDef& fused = GetOp("FusedAttention", "zig");
    if (dtype != DType::kFloat32 || !ShapeOf4(y) || !context_.Supports(fused, dtype)) return false;
    scale_ = 1, nan_is_zero_ = false, bias_ = nullptr, masked_ = nullptr;
    if (!FollowWeights(node.Input(0)) || !ShapesFit(node.Input(1))) return false;
    heads_ = (*ShapeOf4(q_))[1].Const();
    Value* v = BeforeSplit(node.Input(1));
    Node* last = &node;
    const bool merged = FollowMerge(last);
    if (masked_) bias_ = BiasOfWhere(*masked_, node);
    if (!bias_ && masked_) return false;
    std::vector<Value*> inputs = {BeforeSplit(q_), BeforeSplit(k_), v};
    if (bias_) inputs.push_back(bias_);
    Attributes attributes = {{"num_heads", heads_}, {"scale", static_cast<float>(scale_)}};
    if (nan_is_zero_) attributes["nan_is_zero"] = int64_t{1};
    if (merged) attributes["merge_heads"] = int64_t{1};
    Value* made = graph_.AddNode(fused, std::move(inputs), std::move(attributes), {""}, node.name, last)->outputs[0];
    if (last->op->Is("Transpose")) made = Split(made, *last);
    return Replace(last->Output(0), made);
  }

 private:
  // From the weights down to the product of queries and keys.
  bool FollowWeights(Value* weights) {
    weights = Unguarded(weights);
    Node* softmax = Maker(weights, graph_, "Softmax");
    if (!softmax) return false;
    const int64_t axis = softmax->Int("axis", -1);
    Value* scores = softmax->Input(0);
    if ((axis != -1 && axis != kRank - 1) || !ShapeOf4(scores) || !UsedOnce(scores)) return false;
    scores = WithoutBias(scores);
    if (!scores) return false;
    scores = WithoutScale(scores);
    Node* product = Maker(scores, graph_, "MatMul");
    if (!product || !UsedOnce(scores)) return false;
    q_ = WithoutScale(product->Input(0));
    return FollowKeys(WithoutScale(product->Input(1)));
  }

  Value* Unguarded(Value* weights) {
    Node* where = Maker(weights, graph_, "Where");
    if (!where) return UsedOnce(weights) ? weights : nullptr;
    Value* inner = where->Input(2);
    Node* test = Maker(where->Input(0), graph_, "IsNaN");
    const auto zero = ScalarOf(where->Input(1));
    if (!test || test->Input(0) != inner || !zero || *zero != 0 || !UsedOnce(weights)) return nullptr;
    if (!UsedOnce(where->Input(0)) || inner->users.size() != 2 || inner->graph_output_uses) return nullptr;
    nan_is_zero_ = true;
    return inner;
  }

  // Divides or multiplies by a constant: what is scaled, the factor taken into scale_.
  Value* WithoutScale(Value* value) {
    while (true) {
      Node* node = Maker(value, graph_, "Mul");
      const bool divides = !node;
      if (!node) node = Maker(value, graph_, "Div");
      if (!node) return value;
      const int constant = node->Input(1)->IsConstant() ? 1 : 0;
      if (divides && constant == 0) return value;
      const auto factor = ScalarOf(node->Input(constant));
      Value* inner = node->Input(1 - constant);
      if (!factor || *factor == 0 || !SameType(inner, value) || !UsedOnce(value)) return value;
      scale_ *= divides ? 1 / *factor : *factor;
      value = inner;
    }
  }

  // True if the value is a product, perhaps scaled.
  bool IsScores(Value* value) {
    const double before = scale_;
    const bool found = Maker(WithoutScale(value), graph_, "MatMul") != nullptr;
    scale_ = before;
    return found;
  }

  // What the bias is added to; the value itself where there is none, null where it does not fit.
  Value* WithoutBias(Value* scores) {
    if (Node* where = Maker(scores, graph_, "Where")) {
      masked_ = where;
      return SameType(where->Input(1), scores) && UsedOnce(where->Input(1)) ? where->Input(1) : nullptr;
    }
    Node* add = Maker(scores, graph_, "Add");
    if (!add) return scores;
    for (int i : {0, 1}) {
      Value *one = add->Input(i), *other = add->Input(1 - i);
      if (!SameType(one, scores) || !UsedOnce(one) || !IsScores(one)) continue;
      if (other->type.dtype != scores->type.dtype || !other->type.HasRank() || other->type.Rank() > kRank) continue;
      bias_ = other;
      return one;
    }
    return nullptr;
  }

  // Where(allowed, scores, x) is scores + Where(allowed, 0, x) for an x below which no score matters.
  Value* BiasOfWhere(const Node& where, Node& before) {
    const auto masked = ScalarOf(where.Input(2));
    // Adding a score to -2^100 leaves it as it is, so that rows with nothing but masked scores agree too.
    if (!masked || *masked > -0x1p100) return nullptr;
    Value* allowed = where.Input(0);
    if (!allowed->type.HasRank() || allowed->type.Rank() > kRank) return nullptr;
    Value* zero = graph_.AddConstant(MakeReals(DType::kFloat32, Shape{}, {0.0}));
    return Insert(&before, "Where", {allowed, zero, where.Input(2)});
  }

  // Keys as [batch, heads, keys, size], or, where they came straight from a projection, that.
  bool FollowKeys(Value* turned) {
    Node* transpose = Maker(turned, graph_, "Transpose");
    if (!transpose || !ShapeOf4(turned)) return false;
    keys_shape_ = *ShapeOf4(turned);
    std::swap(keys_shape_[2], keys_shape_[3]);
    k_ = transpose->Input(0);
    keys_split_ = nullptr;
    if (HasPerm(*transpose, {0, 1, 3, 2})) {
      k_ = WithoutScale(k_);
      return true;
    }
    keys_split_ = HasPerm(*transpose, {0, 2, 3, 1}) ? Projected(k_) : nullptr;
    return keys_split_ != nullptr;
  }

  // The [batch, sequence, heads * size] behind a Reshape to [batch, sequence, heads, size]; or null.
  Value* Projected(Value* split) {
    Node* reshape = Maker(split, graph_, "Reshape");
    const auto* to = ShapeOf4(split);
    if (!reshape || !to || !reshape->Input(0)->type.HasRank() || reshape->Input(0)->type.Rank() != 3) return nullptr;
    const auto& from = *reshape->Input(0)->type.shape;
    const bool fits = from[0] == (*to)[0] && from[1] == (*to)[1] && (*to)[2].IsConst() && (*to)[3].IsConst() &&
                      from[2].IsConst((*to)[2].Const() * (*to)[3].Const());
    return fits ? reshape->Input(0) : nullptr;
  }

  // The projection whose heads were split off, or the value itself.
  Value* BeforeSplit(Value* value) {
    if (value == k_ && keys_split_) return keys_split_;
    Node* transpose = Maker(value, graph_, "Transpose");
    if (!transpose || !HasPerm(*transpose, {0, 2, 1, 3})) return value;
    Value* projected = Projected(transpose->Input(0));
    return projected ? projected : value;
  }

  // Nothing broadcasts: batches and heads are the same, and the number of heads is known.
  bool ShapesFit(const Value* v) {
    const auto *q = ShapeOf4(q_), *values = ShapeOf4(v);
    if (!q || !values || !(*q)[1].IsConst() || (*q)[1].Const() < 1) return false;
    for (int axis : {0, 1})
      if (!((*q)[axis] == keys_shape_[axis]) || !((*q)[axis] == (*values)[axis])) return false;
    return (*q)[3] == keys_shape_[3] && keys_shape_[2] == (*values)[2];
  }

  // Takes in the Transpose that brings a position's heads together, and the Reshape that joins them if that alone
  // follows. Where others do, the joined heads are split again, which moves no element.
  bool FollowMerge(Node*& last) {
    Value* y = last->Output(0);
    if (!UsedOnce(y)) return false;
    Node* transpose = y->users[0];
    if (!transpose->op->Is("Transpose") || !HasPerm(*transpose, {0, 2, 1, 3})) return false;
    Value* turned = transpose->Output(0);
    const auto& from = *turned->type.shape;
    if (!from[2].IsConst() || !from[3].IsConst() || from[3].Const() < 1) return false;
    last = transpose;
    if (!UsedOnce(turned) || !turned->users[0]->op->Is("Reshape") || turned->users[0]->Input(0) != turned) return true;
    Node* reshape = turned->users[0];
    if (!reshape->Output(0)->type.HasRank()) return true;
    const auto& to = *reshape->Output(0)->type.shape;
    if (to.size() == 3 && to[0] == from[0] && to[1] == from[1] && to[2].IsConst(from[2].Const() * from[3].Const()))
      last = reshape;
    return true;
  }

  Value* Split(Value* joined, Node& transpose) {
    const int64_t size = (*transpose.Output(0)->type.shape)[3].Const();
    Value* target = graph_.AddConstant(Constant::Int64s({0, 0, heads_, size}));
    return Insert(&transpose, "Reshape", {joined, target});
  }

  Graph& graph_;
  const PassContext& context_;
  double scale_ = 1;
  bool nan_is_zero_ = false;
  int64_t heads_ = 0;
  Value *q_ = nullptr, *k_ = nullptr, *keys_split_ = nullptr, *bias_ = nullptr;
  Node* masked_ = nullptr;
  std::vector<Dim> keys_shape_;
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
