// Of two transpositions in a row keeps one, or none; a transposition that moves only extents of one becomes a Reshape,
// and one that moves them among others does without them where a view stands beside it.
#include <algorithm>

#include "ops/op_def.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

std::vector<int64_t> Permutation(const Node& node) {
  std::vector<int64_t> perm = node.Ints("perm");
  if (perm.empty())
    for (int i = node.Input(0)->type.Rank() - 1; i >= 0; --i) perm.push_back(i);
  return perm;
}

// True if the extents above one keep their order: then the bytes stay where they are.
bool KeepsOrder(const std::vector<int64_t>& perm, const std::vector<Dim>& shape) {
  int64_t last = -1;
  for (int64_t axis : perm) {
    if (shape[axis].IsConst(1)) continue;
    if (axis < last) return false;
    last = axis;
  }
  return true;
}

int MergePair(Node& node) {
  Node* first = node.Input(0)->producer;
  if (!first || first->graph != node.graph || !first->op->Is("Transpose")) return 0;
  const std::vector<int64_t> inner = Permutation(*first), outer = Permutation(node);
  std::vector<int64_t> both;
  bool identity = true;
  for (size_t i = 0; i < outer.size(); ++i) {
    both.push_back(inner[outer[i]]);
    identity &= both[i] == static_cast<int64_t>(i);
  }
  Value* source = first->Input(0);
  return Replace(node.Output(0), identity ? source : Insert(&node, "Transpose", {source}, {{"perm", both}}));
}

int TurnIntoReshape(Graph& graph, Node& node) {
  const auto& shape = *node.Input(0)->type.shape;
  const std::vector<int64_t> perm = Permutation(node);
  if (!KeepsOrder(perm, shape)) return 0;
  std::vector<int64_t> target;
  int unknown = 0;
  for (size_t i = 0; i < perm.size(); ++i) {
    const Dim& dim = shape[perm[i]];
    if (dim.IsConst(0)) return 0;
    target.push_back(dim.IsConst() ? dim.Const() : perm[i] == static_cast<int64_t>(i) ? 0 : -1);
    unknown += target.back() == -1;
  }
  if (unknown > 1) return 0;
  Value* reshaped = Insert(&node, "Reshape", {node.Input(0), graph.AddConstant(Constant::Int64s(target))});
  return reshaped->type.shape == node.Output(0)->type.shape ? Replace(node.Output(0), reshaped) : 0;
}

bool IsView(const Node* node, const Graph& graph) { return node && node->graph == &graph && node->op->Is(kView); }

// [b,s,1,h,d] -> {2,0,3,1,4} -> [1,b,h,s,d] moves what [b,s,h,d] -> {0,2,1,3} -> [b,h,s,d] does.
int DropExtentsOfOne(Graph& graph, Node& node) {
  Value *input = node.Input(0), *output = node.Output(0);
  const bool is_beside_view =
      IsView(input->producer, graph) ||
      (!output->graph_output_uses &&
       std::all_of(output->users.begin(), output->users.end(), [&](const Node* user) { return IsView(user, graph); }));
  const std::vector<Dim>& shape = *input->type.shape;
  std::vector<int64_t> place(shape.size(), -1), ones, new_ones, inner;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i].IsConst(1))
      ones.push_back(static_cast<int64_t>(i));
    else
      place[i] = static_cast<int64_t>(i - ones.size());
  }
  if (!is_beside_view || ones.empty()) return 0;
  const std::vector<int64_t> perm = Permutation(node);
  for (size_t i = 0; i < perm.size(); ++i) {
    if (const int64_t at = place[static_cast<size_t>(perm[i])]; at >= 0)
      inner.push_back(at);
    else
      new_ones.push_back(static_cast<int64_t>(i));
  }
  Value* made = Insert(&node, "Squeeze", {input, graph.AddConstant(Constant::Int64s(ones))});
  made = Insert(&node, "Transpose", {made}, {{"perm", inner}});
  return Replace(output, Insert(&node, "Unsqueeze", {made, graph.AddConstant(Constant::Int64s(new_ones))}));
}

int Run(Graph& graph, PassContext&) {
  int rewrites = 0;
  for (Node* node : NodesOf(graph)) {
    if (!node->op->Is("Transpose") || node->Output(0)->IsUnused() || !node->Input(0)->type.HasRank()) continue;
    const int merged = MergePair(*node);
    const int viewed = merged ? 0 : TurnIntoReshape(graph, *node);
    rewrites += merged + viewed;
    if (!merged && !viewed) rewrites += DropExtentsOfOne(graph, *node);
  }
  return rewrites;
}

}  // namespace

const Pass kMergeTransposes = {
    .name = "merge_transposes",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "permutations compose; moving extents of one moves no element",
    .run = Run,
    .repeat = true,
};

}  // namespace ziggurat
