// x/2 (1 + erf(x/sqrt 2)) and its tanh approximation, in the ways that exporters spell them, become Gelu.
#include "passes/match.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

// Exporters round the constants to float16 at worst: 2^-11.
constexpr double kTolerance = 5e-4;

// The products of x, 1/2 and `one_plus`, however they are bracketed.
std::vector<Pattern> HalfTimes(const Pattern& x, const Pattern& one_plus) {
  const Pattern half = Scalar(0.5);
  return {
      Op("Mul", {Op("Mul", {x, one_plus}), half}),      Op("Mul", {Op("Mul", {x, half}), one_plus}),
      Op("Mul", {x, Op("Mul", {one_plus, half})}),      Op("Div", {Op("Mul", {x, one_plus}), Scalar(2)}),
      Op("Mul", {Op("Div", {x, Scalar(2)}), one_plus}),
  };
}

struct Spelling {
  Pattern x, root;
  const char* approximate;
};

std::vector<Spelling> Spellings() {
  std::vector<Spelling> out;
  auto add = [&](const Pattern& x, const Pattern& function, const char* approximate) {
    for (Pattern& root : HalfTimes(x, Op("Add", {function, Scalar(1)})))
      out.push_back({x, std::move(root), approximate});
  };
  const Pattern x = Any();
  add(x, Op("Erf", {Op("Div", {x, Scalar(1.4142135623730951, kTolerance)})}), "none");
  add(x, Op("Erf", {Op("Mul", {x, Scalar(0.7071067811865476, kTolerance)})}), "none");

  const Pattern square = Op("Mul", {x, x}), c = Scalar(0.044715, kTolerance);
  const Pattern cubes[] = {Op("Pow", {x, Scalar(3)}), Op("Mul", {x, square}),
                           Op("Mul", {x, Op("Pow", {x, Scalar(2)})})};
  const Pattern root = Scalar(0.7978845608028654, kTolerance);
  for (const Pattern& cube : cubes)
    add(x, Op("Tanh", {Op("Mul", {root, Op("Add", {x, Op("Mul", {c, cube})})})}), "tanh");
  const Pattern inner = Op("Add", {Op("Mul", {Op("Mul", {c, x}), x}), Scalar(1)});
  add(x, Op("Tanh", {Op("Mul", {Op("Mul", {root, x}), inner})}), "tanh");
  return out;
}

int Run(Graph& graph, PassContext& context) {
  const OpDef& gelu = GetOp("Gelu");
  const std::vector<Spelling> spellings = Spellings();
  return RewriteMatches(graph, [&](Node& node) -> std::optional<Matched> {
    if (!node.op->Is("Mul") && !node.op->Is("Div")) return std::nullopt;
    Value* output = node.Output(0);
    const DType dtype = output->type.dtype;
    if ((dtype != DType::kFloat32 && dtype != DType::kFloat64) || !context.Supports(gelu, dtype)) return std::nullopt;
    for (const Spelling& spelling : spellings) {
      auto match = Match(spelling.root, output);
      if (!match) continue;
      Value* x = (*match)[spelling.x];
      if (!SameShape(x, output)) return std::nullopt;  // a constant of one element may carry more axes than x
      Value* made = Insert(&node, "Gelu", {x}, {{"approximate", std::string(spelling.approximate)}});
      if (!Replace(output, made)) return std::nullopt;
      return match;
    }
    return std::nullopt;
  });
}

}  // namespace

const Pass kRecognizeGelu = {
    .name = "recognize_gelu",
    .exactness = Exactness::kApproximate,
    .bound = "2^-20 * |x|: both evaluate the same formula with a few roundings in another order",
    .proof = "the tree is Gelu's definition, its constants within float16's rounding",
    .run = Run,
};

}  // namespace ziggurat
