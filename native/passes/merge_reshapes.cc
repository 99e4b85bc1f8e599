// Of two views in a row (Reshape, Squeeze, Unsqueeze, Flatten) keeps one Reshape.
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

bool IsView(const Node& node) {
  const OpDef& op = *node.op;
  return op.Is("Reshape") || op.Is("Squeeze") || op.Is("Unsqueeze") || op.Is("Flatten");
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
    Value* merged = ViewAs(*node, source, *output->type.shape);
    if (merged) rewrites += Replace(output, merged);
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
