// x * sigmoid(a x) becomes Swish, x * hard_sigmoid(x) becomes HardSwish.
#include <cmath>

#include "passes/match.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

bool IsSixth(const Node& node) {
  return std::fabs(node.Float("alpha", 0.2f) - 1.0f / 6) < 1e-6f && node.Float("beta", 0.5f) == 0.5f;
}

int Run(Graph& graph, PassContext& context) {
  const Pattern x = Any(), scale = AnyScalar();
  const Pattern swish = Op("Mul", {x, Op("Sigmoid", {x})});
  const Pattern scaled = Op("Mul", {x, Op("Sigmoid", {Op("Mul", {x, scale})})});
  const Pattern gate = Op("HardSigmoid", {x}).If(IsSixth);
  const Pattern hard = Op("Mul", {x, gate});
  return RewriteMatches(graph, [&](Node& node) -> std::optional<Matched> {
    if (!node.op->Is("Mul")) return std::nullopt;
    Value* output = node.Output(0);
    const DType dtype = output->type.dtype;
    if (dtype != DType::kFloat32 && dtype != DType::kFloat64) return std::nullopt;
    auto finish = [&](std::optional<Matched> match, const char* op, Attributes attributes) -> std::optional<Matched> {
      if (!match || !context.Supports(GetOp(op), dtype) || !SameShape((*match)[x], output)) return std::nullopt;
      if (!Replace(output, Insert(&node, op, {(*match)[x]}, std::move(attributes)))) return std::nullopt;
      return match;
    };
    if (auto done = finish(Match(swish, output), "Swish", {})) return done;
    if (auto match = Match(scaled, output)) {
      const float alpha = static_cast<float>(ReadReals((*match)[scale])->front());
      return finish(match, "Swish", {{"alpha", alpha}});
    }
    return finish(Match(hard, output), "HardSwish", {});
  });
}

}  // namespace

const Pass kRecognizeSwish = {
    .name = "recognize_swish",
    .exactness = Exactness::kApproximate,
    .bound = "2^-20 * |x|: the same formula, where one kernel may round x times the sigmoid in another place",
    .proof = "the tree is the op's definition",
    .run = Run,
};

}  // namespace ziggurat
