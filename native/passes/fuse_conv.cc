// Conv takes a following per-channel Add as its bias; with a residual Add or an activation it becomes zig.FusedConv.
#include "passes/epilogue.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

// Two passes of half precision round twice where the fused kernel rounds once: only these keep their bits.
bool KeepsBits(DType dtype) { return dtype == DType::kFloat32 || dtype == DType::kFloat64; }

bool Fuse(Graph& graph, Node& node, const PassContext& context) {
  const OpDef& fused = GetOp("FusedConv", "zig");
  const Value* output = node.Output(0);
  if (!output || !KeepsBits(output->type.dtype) || !output->type.HasRank() || output->type.Rank() < 3) return false;
  const bool has_bias = node.Input(2) != nullptr;
  const Epilogue epilogue = FollowEpilogue(node, has_bias ? -1 : 1);
  if (!epilogue.changed) return false;
  const bool only_bias = !epilogue.residual && !epilogue.activation;
  if (!only_bias && !context.Supports(fused, output->type.dtype)) return false;
  Value* bias = epilogue.bias ? graph.AddConstant(epilogue.bias) : node.Input(2);
  std::vector<Value*> inputs = {node.Input(0), node.Input(1), bias, epilogue.residual};
  Attributes attributes = node.attributes;
  if (epilogue.activation) SetActivation(attributes, *epilogue.activation);
  const OpDef& op = only_bias ? *node.op : fused;
  Value* made = graph.AddNode(op, std::move(inputs), std::move(attributes), {""}, node.name, epilogue.last)->outputs[0];
  return Replace(epilogue.last->Output(0), made);
}

int Run(Graph& graph, PassContext& context) {
  int rewrites = 0;
  for (Node* node : NodesOf(graph))
    if (node->op->Is("Conv")) rewrites += Fuse(graph, *node, context);
  return rewrites;
}

}  // namespace

const Pass kFuseConv = {
    .name = "fuse_conv",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "the kernel adds bias, then residual, then applies the activation: the order the nodes had",
    .run = Run,
};

}  // namespace ziggurat
