#include "passes/attention_scores.h"

#include "ops/op_def.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

constexpr size_t kMostSteps = 12;  // each Add may be followed into either operand

// A score that gets this added is this, whatever it was: float32 has 24 bits, and scores stay far below 2^70.
constexpr double kMasked = -0x1p100;

std::optional<double> ScalarOf(const Value* value) {
  if (!value->IsConstant() || value->constant->shape().Count() != 1) return std::nullopt;
  return UniformReal(value);
}

int RankOf(const Value* value) { return value->type.HasRank() ? value->type.Rank() : -1; }

// Reshapes to `lead` and the last two dimensions of the value: by a constant where Reshape's 0 and -1 can say that.
Value* ViewLead(Value* value, std::vector<int64_t> lead, Node& before) {
  Graph& graph = *before.graph;
  const std::vector<Dim>& shape = *value->type.shape;
  const size_t rows = shape.size() - 2;
  bool is_constant = true;
  std::vector<int64_t> target = lead;
  for (size_t i = rows; i < shape.size(); ++i) {
    is_constant &= shape[i].IsConst() && shape[i].Const() > 0;
    target.push_back(shape[i].IsConst() ? shape[i].Const() : 0);
  }
  if (is_constant) return Insert(&before, "Reshape", {value, graph.AddConstant(Constant::Int64s(target))});
  Value* extents = Insert(&before, "Shape", {value}, {{"start", static_cast<int64_t>(rows)}});
  Value* words = graph.AddConstant(Constant::Int64s(lead));
  return Insert(&before, "Reshape", {value, Insert(&before, "Concat", {words, extents}, {{"axis", int64_t{0}}})});
}

}  // namespace

Node* Maker(const Value* value, const Graph& graph, std::string_view op) {
  Node* node = value ? value->producer : nullptr;
  return node && node->graph == &graph && node->op->Is(op) && value->output_index == 0 ? node : nullptr;
}

const std::vector<Dim>* ShapeOf4(const Value* value) { return RankOf(value) == 4 ? &*value->type.shape : nullptr; }

Value* BehindHeadsView(const Value* value, const Graph& graph) {
  Node* reshape = Maker(value, graph, "Reshape");
  if (!reshape) return nullptr;
  Value* from = reshape->Input(0);
  if (RankOf(from) + RankOf(value) != 7 || RankOf(from) < 3 || RankOf(value) < 3) return nullptr;
  const auto &one = *from->type.shape, &other = *value->type.shape;
  const bool same = one.end()[-1] == other.end()[-1] && one.end()[-2] == other.end()[-2];
  return same ? from : nullptr;
}

Value* ViewHeads(Value* value, int64_t heads, Node& before) { return ViewLead(value, {-1, heads}, before); }
Value* JoinHeads(Value* value, Node& before) { return ViewLead(value, {-1}, before); }

Scaled WithoutScale(Value* value, const Graph& graph) {
  Scaled out{value, 1};
  while (true) {
    Node* node = Maker(out.value, graph, "Mul");
    const bool divides = !node;
    if (!node) node = Maker(out.value, graph, "Div");
    if (!node) return out;
    const int constant = node->Input(1)->IsConstant() ? 1 : 0;
    if (divides && constant == 0) return out;
    const auto factor = ScalarOf(node->Input(constant));
    Value* inner = node->Input(1 - constant);
    if (!factor || *factor == 0 || !SameType(inner, out.value) || !UsedOnce(out.value)) return out;
    out = {inner, out.factor * (divides ? 1 / *factor : *factor)};
  }
}

bool ScorePath::Follow(Value* scores) {
  if (!Descend(scores)) return false;
  // What is scaled by the product's own factors alone; a scale above a bias scales both.
  for (const Step& step : steps_)
    if (step.kind == Step::kScale) scale_ *= step.factor;
  return true;
}

bool ScorePath::Descend(Value* scores) {
  const int rank = RankOf(scores);
  if ((rank != 3 && rank != 4) || !UsedOnce(scores) || steps_.size() > kMostSteps) return false;
  if (rank == 4) {
    // Batch and heads are taken apart in one way only: a bias is given by the shape that it is added in.
    const std::vector<Dim>& shape = *scores->type.shape;
    if (shape_ && !((*shape_)[0] == shape[0] && (*shape_)[1] == shape[1])) return false;
    shape_ = &shape;
  }
  if (Node* product = Maker(scores, graph_, "MatMul")) {
    product_ = product;
    return RankOf(product->Input(0)) == rank && RankOf(product->Input(1)) == rank;
  }
  const size_t depth = steps_.size();
  if (const Scaled scaled = WithoutScale(scores, graph_); scaled.value != scores) {
    steps_.push_back({.kind = Step::kScale, .factor = scaled.factor});
    return Descend(scaled.value);
  }
  if (Value* viewed = BehindHeadsView(scores, graph_)) return Descend(viewed);
  if (Node* where = Maker(scores, graph_, "Where")) return DescendMask(*where);
  Node* add = Maker(scores, graph_, "Add");
  for (int i = 0; add && i < 2; ++i) {
    Value *inner = add->Input(i), *operand = add->Input(1 - i);
    if (!SameType(inner, scores) || !Fits(operand, scores) || operand->type.dtype != scores->type.dtype) continue;
    steps_.push_back({.kind = Step::kAdd, .operand = operand, .joined = rank == 3});
    if (Descend(inner)) return true;
    steps_.resize(depth);
  }
  return false;
}

// Where(allowed, scores, x) and Where(masked, x, scores), for an x below which no score matters: rows with nothing but
// masked scores stay as they are too.
bool ScorePath::DescendMask(Node& where) {
  for (const Step& step : steps_)
    if (step.kind == Step::kScale) return false;  // of x
  for (int i : {1, 2}) {
    Value *inner = where.Input(i), *scores = where.Output(0);
    const auto masked = ScalarOf(where.Input(3 - i));
    if (!masked || *masked > kMasked || !SameType(inner, scores) || !Fits(where.Input(0), scores)) continue;
    steps_.push_back({.kind = Step::kMask,
                      .operand = where.Input(0),
                      .joined = RankOf(scores) == 3,
                      .where = &where,
                      .scores_input = i});
    return Descend(inner);
  }
  return false;
}

// True if the operand can be given four dimensions.
bool ScorePath::Fits(const Value* operand, const Value* scores) const {
  const int rank = RankOf(operand);
  if (rank < 0 || rank > RankOf(scores)) return false;
  const bool is_joined = rank == 3 && RankOf(scores) == 3;  // its first dimension is batch * heads, or one
  return !is_joined || operand->type.shape->front().IsConst(1) ||
         operand->type.shape->front() == scores->type.shape->front();
}

Value* ScorePath::OfFourDims(const Step& step, Node& before, int64_t heads) {
  Value* operand = step.operand;
  if (!step.joined || RankOf(operand) != 3 || operand->type.shape->front().IsConst(1)) return operand;
  if (!heads) return Insert(&before, "Unsqueeze", {operand, graph_.AddConstant(Constant::Int64s({1}))});
  return ViewHeads(operand, heads, before);
}

Value* ScorePath::Bias(Node& before, int64_t heads) {
  Value* bias = nullptr;
  for (size_t i = steps_.size(); i-- > 0;) {
    const Step& step = steps_[i];
    if (step.kind == Step::kScale) {
      if (!bias) continue;
      bias = Insert(&before, "Mul", {bias, graph_.AddConstant(MakeReals(DType::kFloat32, Shape{}, {step.factor}))});
      continue;
    }
    Value* operand = OfFourDims(step, before, heads);
    if (step.kind == Step::kAdd) {
      bias = bias ? Insert(&before, "Add", {bias, operand}) : operand;
      continue;
    }
    std::vector<Value*> inputs = step.where->inputs;
    inputs[0] = operand;
    inputs[static_cast<size_t>(step.scores_input)] =
        bias ? bias : graph_.AddConstant(MakeReals(DType::kFloat32, Shape{}, {0.0}));
    bias = Insert(&before, "Where", std::move(inputs));
  }
  return bias;
}

}  // namespace ziggurat
