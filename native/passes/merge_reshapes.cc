// Of two views in a row (Reshape, Squeeze, Unsqueeze, Flatten) keeps one Reshape.
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

bool IsView(const Node& node) {
  const OpDef& op = *node.op;
  return op.Is("Reshape") || op.Is("Squeeze") || op.Is("Unsqueeze") || op.Is("Flatten");
}

// Numbers, 0 for a dimension that stays in place, -1 for at most one other.
std::optional<std::vector<int64_t>> Target(const std::vector<Dim>& from, const std::vector<Dim>& to) {
  std::vector<int64_t> target;
  int unknown = 0;
  for (size_t i = 0; i < to.size(); ++i) {
    const bool kept = i < from.size() && from[i] == to[i];
    if (to[i].IsConst(0)) return std::nullopt;  // Reshape reads 0 as "keep"
    target.push_back(to[i].IsConst() ? to[i].Const() : kept ? 0 : -1);
    unknown += target.back() == -1;
  }
  if (unknown > 1) return std::nullopt;
  return target;
}

int Run(Graph& graph, PassContext&) {
  int rewrites = 0;
  for (Node* node : NodesOf(graph)) {
    Value* output = node->Output(0);
    if (!IsView(*node) || output->IsUnused() || !output->type.HasRank()) continue;
    Node* first = node->Input(0)->producer;
    if (!first || first->graph != node->graph || !IsView(*first)) continue;
    Value* source = first->Input(0);
    if (!source->type.HasRank()) continue;
    const auto target = Target(*source->type.shape, *output->type.shape);
    if (!target) continue;
    Value* merged = Insert(node, "Reshape", {source, graph.AddConstant(Constant::Int64s(*target))});
    if (merged->type.shape != output->type.shape) continue;
    rewrites += Replace(output, merged);
  }
  return rewrites;
}

}  // namespace

const Pass kMergeReshapes = {
    .name = "merge_reshapes",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "views keep the elements' order, so the last shape alone decides; kept only if it infers the same",
    .run = Run,
    .repeat = true,
};

}  // namespace ziggurat
