// Swish(x) * y becomes SwiGLU: a gated feed-forward layer reads and writes its widest tensors once less.
#include "passes/match.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

int Run(Graph& graph, PassContext& context) {
  const Pattern x = Any(), y = Any();
  const Pattern swish = Op("Swish", {x}).If([](const Node& node) { return node.Float("alpha", 1) == 1; });
  const Pattern gated = Op("Mul", {swish, y});
  return RewriteMatches(graph, [&](Node& node) -> std::optional<Matched> {
    Value* output = node.Output(0);
    if (!node.op->Is("Mul") || output->type.dtype != DType::kFloat32) return std::nullopt;
    if (!context.Supports(GetOp("SwiGLU"), DType::kFloat32)) return std::nullopt;
    auto match = Match(gated, output);
    if (!match || !SameShape((*match)[x], output) || !SameShape((*match)[y], output)) return std::nullopt;
    if (!Replace(output, Insert(&node, "SwiGLU", {(*match)[x], (*match)[y]}))) return std::nullopt;
    return match;
  });
}

}  // namespace

const Pass kFuseGate = {
    .name = "fuse_gate",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "the definition of SwiGLU, whose kernel runs the functions of Swish and Mul one after the other",
    .run = Run,
};

}  // namespace ziggurat
