// Products with constants that share their left side become one zig.SharedMatMul: queries, keys and values of an
// attention, gate and width of a feed-forward layer. The left side is packed once for all, and one fork serves them.
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

bool IsProduct(const Node& node) {
  const auto ours = [&](std::string_view name) { return node.op->domain == "zig" && node.op->name == name; };
  return node.op->Is("MatMul") || node.op->Is("Gemm") || ours("FusedMatMul") || ours("FusedAttention");
}

// A float32 matrix of constants times what stands on the left, perhaps with a bias, and nothing else.
bool CanMerge(const Node& node) {
  const bool fused = node.op->domain == "zig" && node.op->name == "FusedMatMul";
  if (!node.op->Is("MatMul") && !fused) return false;
  const Value *a = node.Input(0), *b = node.Input(1), *bias = node.Input(2);
  if (!node.attributes.empty() || node.Input(3) || !b->IsConstant() || node.Output(0)->IsUnused()) return false;
  if (a->type.dtype != DType::kFloat32 || !a->type.HasRank() || a->type.Rank() < 2) return false;
  if (b->constant->shape().rank() != 2 || b->constant->shape().Count() == 0 || !b->type.encoding.IsPlain())
    return false;
  return !bias || (bias->IsConstant() && bias->constant->shape() == Shape{b->constant->shape()[1]});
}

bool Fit(const Node& one, const Node& other) {
  return one.Input(0) == other.Input(0) && !one.Input(2) == !other.Input(2);
}

// `group` stands in the graph's order, so all that it reads is there before its first node.
int Merge(Graph& graph, const std::vector<Node*>& group, const PassContext& context) {
  const OpDef& op = GetOp("SharedMatMul", "zig");
  if (group.size() < 2 || !context.Supports(op, DType::kFloat32)) return 0;
  std::vector<Value*> inputs = {group[0]->Input(0)};
  for (const Node* node : group) inputs.push_back(node->Input(1));
  if (group[0]->Input(2))
    for (const Node* node : group) inputs.push_back(node->Input(2));
  const Node* made =
      graph.AddNode(op, std::move(inputs), {}, std::vector<std::string>(group.size()), group[0]->name, group[0]);
  int rewrites = 0;
  for (size_t i = 0; i < group.size(); ++i) rewrites += Replace(group[i]->Output(0), made->outputs[i]);
  return rewrites;
}

int Run(Graph& graph, PassContext& context) {
  int rewrites = 0;
  std::vector<Node*> group;
  for (Node* node : NodesOf(graph)) {
    if (!IsProduct(*node)) continue;
    // Only neighbours: a result that waits behind other products for its reader takes memory for as long.
    const bool can = CanMerge(*node);
    if (can && !group.empty() && Fit(*group[0], *node)) {
      group.push_back(node);
      continue;
    }
    rewrites += Merge(graph, group, context);
    group.clear();
    if (can) group.push_back(node);
  }
  return rewrites + Merge(graph, group, context);
}

}  // namespace

const Pass kMergeProducts = {
    .name = "merge_products",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "a column's sum runs along the inner dimension alone, whatever columns stand beside it",
    .run = Run,
};

}  // namespace ziggurat
