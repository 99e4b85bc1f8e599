// The subgraphs that exporters write for layer and RMS normalization become LayerNormalization and RMSNormalization.
#include <algorithm>

#include "passes/match.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

bool KeepsDims(const Node& node) { return node.Int("keepdims", 1) == 1; }
Pattern Mean(const Pattern& of, const Pattern& axes) { return Op("ReduceMean", {of, axes}).If(KeepsDims); }

struct Spelling {
  Pattern root;
  std::optional<Pattern> scale, bias;
};

// The parts that all spellings share; patterns are compared by identity.
struct Parts {
  Pattern x = Any(), epsilon = AnyScalar(), mean_axes = AnyConstant(), square_axes = AnyConstant();
  std::vector<Spelling> layer, rms;

  Parts() {
    const Pattern centred = Op("Sub", {x, Mean(x, mean_axes)});
    for (const Pattern& normal : Normalized(centred)) AddScaled(normal, true, layer);
    for (const Pattern& normal : Normalized(x)) AddScaled(normal, false, rms);
  }

  // v / sqrt(mean(v^2) + epsilon) as it is spelled.
  std::vector<Pattern> Normalized(const Pattern& v) const {
    std::vector<Pattern> out;
    for (const Pattern& square : {Op("Pow", {v, Scalar(2)}), Op("Mul", {v, v})}) {
      const Pattern deviation = Op("Sqrt", {Op("Add", {Mean(square, square_axes), epsilon})});
      out.push_back(Op("Div", {v, deviation}));
      out.push_back(Op("Mul", {v, Op("Reciprocal", {deviation})}));
      out.push_back(Op("Mul", {v, Op("Div", {Scalar(1), deviation})}));
    }
    return out;
  }

  // With scale and bias, with scale, with neither: the longest first.
  static void AddScaled(const Pattern& normal, bool with_bias, std::vector<Spelling>& out) {
    const Pattern scale = AnyConstant(), bias = AnyConstant();
    const Pattern scaled = Op("Mul", {normal, scale});
    if (with_bias) out.push_back({Op("Add", {scaled, bias}), scale, bias});
    out.push_back({scaled, scale, std::nullopt});
    out.push_back({normal, std::nullopt, std::nullopt});
  }
};

// The first of the trailing axes that the reduction covers; nullopt if it covers others.
std::optional<int> FirstAxis(const Value* axes, int rank) {
  auto values = ReadInts(axes);
  if (!values || values->empty()) return std::nullopt;
  for (int64_t& axis : *values) axis += axis < 0 ? rank : 0;
  std::sort(values->begin(), values->end());
  for (size_t i = 0; i < values->size(); ++i)
    if ((*values)[i] != rank - static_cast<int64_t>(values->size() - i)) return std::nullopt;
  return static_cast<int>((*values)[0]);
}

// The parameter spans exactly the normalized axes.
bool Spans(const Value* parameter, const std::vector<Dim>& shape, int axis) {
  return parameter->type.HasRank() && *parameter->type.shape == std::vector<Dim>(shape.begin() + axis, shape.end());
}

class Rewriter {
 public:
  Rewriter(Graph& graph, PassContext& context) : graph_(graph), context_(context) {}

  std::optional<Matched> Try(Node& node) {
    const DType dtype = node.Output(0)->type.dtype;
    if (!node.op->Is("Add") && !node.op->Is("Mul") && !node.op->Is("Div")) return std::nullopt;
    if (dtype != DType::kFloat32 && dtype != DType::kFloat64) return std::nullopt;
    if (auto done = TryAll(node, parts_.layer, "LayerNormalization")) return done;
    return TryAll(node, parts_.rms, "RMSNormalization");
  }

 private:
  std::optional<Matched> TryAll(Node& node, const std::vector<Spelling>& spellings, const char* op) {
    if (!context_.Supports(GetOp(op), node.Output(0)->type.dtype)) return std::nullopt;
    for (const Spelling& spelling : spellings)
      if (auto match = Match(spelling.root, node.Output(0)); match && Build(node, spelling, *match, op)) return match;
    return std::nullopt;
  }

  bool Build(Node& node, const Spelling& spelling, const Matched& match, const char* op) {
    Value* x = match[parts_.x];
    if (!x->type.HasRank()) return false;
    const std::vector<Dim>& shape = *x->type.shape;
    const auto axis = FirstAxis(match[parts_.square_axes], x->type.Rank());
    if (!axis) return false;
    if (const Value* axes = match[parts_.mean_axes]; axes && FirstAxis(axes, x->type.Rank()) != axis) return false;
    Value* scale = spelling.scale ? match[*spelling.scale] : Ones(shape, *axis, x->type.dtype);
    Value* bias = spelling.bias ? match[*spelling.bias] : nullptr;
    if (!scale || !Spans(scale, shape, *axis) || (bias && !Spans(bias, shape, *axis))) return false;
    std::vector<Value*> inputs = {x, scale};
    if (bias) inputs.push_back(bias);
    const float epsilon = static_cast<float>(ReadReals(match[parts_.epsilon])->front());
    Attributes attributes = {{"axis", int64_t{*axis - x->type.Rank()}}, {"epsilon", epsilon}};
    return Replace(node.Output(0), Insert(&node, op, std::move(inputs), std::move(attributes)));
  }

  Value* Ones(const std::vector<Dim>& shape, int axis, DType dtype) {
    Shape extent;
    for (size_t i = axis; i < shape.size(); ++i) {
      if (!shape[i].IsConst()) return nullptr;
      extent.push_back(shape[i].Const());
    }
    const std::vector<double> ones(static_cast<size_t>(extent.Count()), 1.0);
    return graph_.AddConstant(MakeReals(dtype, extent, ones));
  }

  Graph& graph_;
  PassContext& context_;
  const Parts parts_;
};

int Run(Graph& graph, PassContext& context) {
  Rewriter rewriter(graph, context);
  return RewriteMatches(graph, [&](Node& node) { return rewriter.Try(node); });
}

}  // namespace

const Pass kRecognizeLayerNorm = {
    .name = "recognize_layer_norm",
    .exactness = Exactness::kApproximate,
    .bound = "2^-18 * max(1, |mean| / deviation) of a normalized element: sums in another order, one division fewer",
    .proof = "the tree is the op's definition over trailing axes, its scale and bias spanning exactly those",
    .run = Run,
};

}  // namespace ziggurat
