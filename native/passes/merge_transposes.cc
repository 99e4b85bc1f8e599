// Of two transpositions in a row keeps one, or none; a transposition that moves only extents of one becomes a Reshape.
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

int Run(Graph& graph, PassContext&) {
  int rewrites = 0;
  for (Node* node : NodesOf(graph)) {
    if (!node->op->Is("Transpose") || node->Output(0)->IsUnused() || !node->Input(0)->type.HasRank()) continue;
    const int merged = MergePair(*node);
    rewrites += merged ? merged : TurnIntoReshape(graph, *node);
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
