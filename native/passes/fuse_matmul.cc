// MatMul, Gemm and zig.FusedMatMul with a following bias, residual Add or activation become zig.FusedMatMul.
#include "passes/epilogue.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

bool KeepsBits(DType dtype) { return dtype == DType::kFloat32 || dtype == DType::kFloat64; }

// Gemm's C as FusedMatMul takes it: one element a column, or the whole product's shape.
struct Addends {
  Value* bias = nullptr;
  Value* residual = nullptr;
};

bool IsOurs(const Node& node) { return node.op->domain == "zig" && node.op->name == "FusedMatMul"; }

std::optional<Addends> SplitC(Graph& graph, Node& node) {
  Value* c = node.Input(2);
  if (IsOurs(node)) return Addends{c, nullptr};
  if (!c || node.Float("beta", 1.0f) == 0) return Addends{};
  const auto& shape = *node.Output(0)->type.shape;
  if (auto along = AlongAxis(c, shape, 1)) {
    if (c->constant->shape() == along->shape()) return Addends{c, nullptr};
    return Addends{graph.AddConstant(along), nullptr};
  }
  const bool whole = node.Float("beta", 1.0f) == 1.0f && SameType(c, node.Output(0));
  return whole ? std::optional(Addends{nullptr, c}) : std::nullopt;
}

bool Fuse(Graph& graph, Node& node, const PassContext& context) {
  const OpDef& fused = GetOp("FusedMatMul", "zig");
  const Value* output = node.Output(0);
  if (!output || !KeepsBits(output->type.dtype) || !output->type.HasRank()) return false;
  if (!context.Supports(fused, output->type.dtype)) return false;
  for (int i = 0; i < 2; ++i)
    if (!node.Input(i)->type.HasRank() || node.Input(i)->type.Rank() < 2) return false;
  const bool gemm = node.op->Is("Gemm") || IsOurs(node);
  Epilogue epilogue = FollowEpilogue(node, gemm && node.Input(2) ? -1 : output->type.Rank() - 1);
  if (!epilogue.changed) return false;
  Addends addends;
  if (gemm) {
    const auto split = SplitC(graph, node);
    if (!split || (split->residual && epilogue.residual)) return false;
    addends = *split;
  }
  if (epilogue.residual) addends.residual = epilogue.residual;
  if (epilogue.bias) addends.bias = graph.AddConstant(epilogue.bias);
  Attributes attributes = node.attributes;      // of Gemm; MatMul has none
  if (epilogue.bias) attributes.erase("beta");  // of the C that was absent
  if (epilogue.activation) SetActivation(attributes, *epilogue.activation);
  std::vector<Value*> inputs = {node.Input(0), node.Input(1), addends.bias, addends.residual};
  Value* made =
      graph.AddNode(fused, std::move(inputs), std::move(attributes), {""}, node.name, epilogue.last)->outputs[0];
  return Replace(epilogue.last->Output(0), made);
}

// One of unjoin_products: with a bias at most.
bool IsBareProduct(const Node& node) { return IsOurs(node) && !node.Input(3) && !node.Has("activation"); }

int Run(Graph& graph, PassContext& context) {
  int rewrites = 0;
  for (Node* node : NodesOf(graph))
    if (node->op->Is("MatMul") || node->op->Is("Gemm") || IsBareProduct(*node)) rewrites += Fuse(graph, *node, context);
  return rewrites;
}

}  // namespace

const Pass kFuseMatMul = {
    .name = "fuse_matmul",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "the kernel adds bias, then residual, then applies the activation: the order the nodes had",
    .run = Run,
};

}  // namespace ziggurat
