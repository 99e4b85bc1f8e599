// A gather of every element at its own place is a view.
//
//   Gather(mask of [b,s] as [b*s], Range(b) as [b,1,1,1] * s + Range(s))      is the mask as [b,1,1,s]
//   GatherND(mask, [Range(b) as [b,1,1,1], Range(s)], stacked)                is that too
//
// So transformers ask a padding mask for batch and key of each score. As arithmetic on positions that costs a dozen
// nodes, and hides that a row of the batch reads its own row only.
#include <algorithm>

#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

using Dims = std::vector<Dim>;

// An integer tensor whose element at (i, j, ..) is offset + steps[0] * i + steps[1] * j + ..
struct Affine {
  Dim offset = 0;
  Dims steps;
};

constexpr int kMostNodes = 32;  // that are looked at behind a gather
constexpr int kMostViews = 4;   // between a gather and its data

bool IsView(const Node& node) {
  const OpDef& op = *node.op;
  return op.Is("Unsqueeze") || op.Is("Squeeze") || op.Is("Reshape");
}

// `left`: nodes that may still be looked at.
std::optional<Affine> AffineOf(const Value* value, int& left);

// What all elements are, where they are one known number or dimension.
std::optional<Affine> Uniform(const Value* value) {
  if (!value->contents || value->contents->empty() || !value->type.HasRank()) return std::nullopt;
  for (const Dim& dim : *value->contents)
    if (!(dim == value->contents->front())) return std::nullopt;
  return Affine{value->contents->front(), Dims(static_cast<size_t>(value->type.Rank()), 0)};
}

// Only extents of one come and go.
std::optional<Affine> OfView(const Affine& from, const Dims& before, const Dims& after) {
  Affine out{from.offset, Dims(after.size(), 0)};
  size_t j = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i].IsConst(1)) continue;
    while (j < after.size() && after[j].IsConst(1)) ++j;
    if (j == after.size() || !(after[j] == before[i])) return std::nullopt;
    out.steps[j++] = from.steps[i];
  }
  return std::all_of(after.begin() + static_cast<int64_t>(j), after.end(), [](const Dim& d) { return d.IsConst(1); })
             ? std::optional(out)
             : std::nullopt;
}

// Repeated along what `to` has in front and where `from` has an extent of one. Where an extent that is not known to be
// one becomes another, it may be repeated as well: then only an axis without a step keeps what it says.
std::optional<Affine> Broadcasted(Affine index, const Dims& from, const Dims& to) {
  if (from.size() > to.size()) return std::nullopt;
  for (size_t i = 0; i < from.size(); ++i) {
    if (from[i].IsConst(1)) index.steps[i] = 0;
    if (!index.steps[i].IsConst(0) && !(from[i] == to[to.size() - from.size() + i])) return std::nullopt;
  }
  index.steps.insert(index.steps.begin(), to.size() - from.size(), 0);
  return index;
}

// Input i of an element-wise node, as broadcast to its output.
std::optional<Affine> OfInput(const Node& node, size_t i, int& left) {
  const Value *input = node.Input(i), *output = node.Output(0);
  auto index = AffineOf(input, left);
  if (!index || !output->type.HasRank()) return std::nullopt;
  return Broadcasted(std::move(*index), *input->type.shape, *output->type.shape);
}

std::optional<Affine> OfSum(const Node& node, int& left) {
  auto out = OfInput(node, 0, left);
  const auto other = out ? OfInput(node, 1, left) : std::nullopt;
  if (!other) return std::nullopt;
  out->offset = out->offset + other->offset;
  for (size_t i = 0; i < out->steps.size(); ++i) out->steps[i] = out->steps[i] + other->steps[i];
  return out;
}

std::optional<Affine> OfProduct(const Node& node, int& left) {
  for (size_t i : {0, 1}) {
    const auto factor = Uniform(node.Input(1 - i));
    auto out = factor ? OfInput(node, i, left) : std::nullopt;
    if (!out) continue;
    out->offset = out->offset * factor->offset;
    for (Dim& step : out->steps) step = step * factor->offset;
    return out;
  }
  return std::nullopt;
}

std::optional<Affine> AffineOf(const Value* value, int& left) {
  if (!value->type.HasRank() || !IsInteger(value->type.dtype) || left-- <= 0) return std::nullopt;
  if (auto uniform = Uniform(value)) return uniform;
  const Node* node = value->producer;
  if (!node || node->graph != value->graph || value->output_index != 0) return std::nullopt;
  if (node->op->Is("Range")) {
    const auto start = Uniform(node->Input(0)), step = Uniform(node->Input(2));
    return start && step ? std::optional(Affine{start->offset, {step->offset}}) : std::nullopt;
  }
  if (node->op->Is("Add")) return OfSum(*node, left);
  if (node->op->Is("Mul")) return OfProduct(*node, left);
  if (node->op->Is("Expand")) return OfInput(*node, 0, left);
  const Value* input = node->Input(0);
  if (!IsView(*node) || !input->type.HasRank()) return std::nullopt;
  const auto from = AffineOf(input, left);
  return from ? OfView(*from, *input->type.shape, *value->type.shape) : std::nullopt;
}

// True if the indices of that shape count up from 0 by one, in row-major order, to `count`.
bool CountsUpTo(const Affine& index, const Dims& shape, const Dim& count) {
  Dim step = 1;
  for (size_t axis = shape.size(); axis-- > 0;) {
    if (shape[axis].IsConst(1)) continue;
    if (!(index.steps[axis] == step)) return false;
    step = step * shape[axis];
  }
  return index.offset.IsConst(0) && step == count;
}

bool IsViewByGather(const Node& node) {
  const Value *data = node.Input(0), *indices = node.Input(1);
  const int64_t rank = data->type.Rank(), axis = node.Int("axis", 0);
  int left = kMostNodes;
  const auto index = AffineOf(indices, left);
  return index && CountsUpTo(*index, *indices->type.shape,
                             (*data->type.shape)[static_cast<size_t>(axis < 0 ? axis + rank : axis)]);
}

// Index j of the tuples is the place along the j-th of the axes that are no extents of one, for all of the data's axes.
bool IsViewByGatherNd(const Node& node) {
  const Value *data = node.Input(0), *indices = node.Input(1);
  const Node* stack = indices->producer;
  if (node.Int("batch_dims") || !stack || !stack->op->Is("Concat") || !indices->type.HasRank()) return false;
  const int64_t rank = indices->type.Rank(), axis = stack->Int("axis");
  const auto& extents = *data->type.shape;
  if ((axis < 0 ? axis + rank : axis) != rank - 1 || stack->inputs.size() != extents.size()) return false;
  size_t at = 0;
  for (size_t j = 0; j < extents.size(); ++j) {
    const Value* part = stack->Input(j);
    int left = kMostNodes;
    const auto index = AffineOf(part, left);
    if (!index || !part->type.shape->back().IsConst(1)) return false;
    const Dims& shape = *part->type.shape;
    while (at < shape.size() && shape[at].IsConst(1)) ++at;
    if (at == shape.size() || !(shape[at] == extents[j]) || !index->offset.IsConst(0)) return false;
    for (size_t i = 0; i < shape.size(); ++i)
      if (i == at ? !index->steps[i].IsConst(1) : !index->steps[i].IsConst(0) && !shape[i].IsConst(1)) return false;
    ++at;
  }
  const Dims& shape = *indices->type.shape;
  return std::all_of(shape.begin() + static_cast<int64_t>(std::min(at, shape.size() - 1)), shape.end() - 1,
                     [](const Dim& dim) { return dim.IsConst(1); });
}

// Of the data, or of what that is a view of: Reshape cannot take apart what was joined from two unknown extents.
int TurnIntoView(Node& node) {
  Value* data = node.Input(0);
  for (int views = 0; views <= kMostViews && data->type.HasRank(); ++views, data = data->producer->Input(0)) {
    if (Value* view = ViewAs(node, data, *node.Output(0)->type.shape)) return Replace(node.Output(0), view);
    const Node* producer = data->producer;
    if (!producer || producer->graph != node.graph || !(IsView(*producer) || producer->op->Is("Flatten"))) return 0;
  }
  return 0;
}

int Run(Graph& graph, PassContext&) {
  int rewrites = 0;
  for (Node* node : NodesOf(graph)) {
    const bool gather = node->op->Is("Gather"), gather_nd = node->op->Is("GatherND");
    if ((!gather && !gather_nd) || node->Output(0)->IsUnused()) continue;
    if (!node->Input(0)->type.HasRank() || !node->Input(1)->type.HasRank() || !node->Output(0)->type.HasRank())
      continue;
    if (gather ? !IsViewByGather(*node) : !IsViewByGatherNd(*node)) continue;
    rewrites += TurnIntoView(*node);
  }
  return rewrites;
}

}  // namespace

const Pass kFoldPositions = {
    .name = "fold_positions",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "the indices count through the data's elements in their order, once",
    .run = Run,
};

}  // namespace ziggurat
