// Lets what inference knows of shapes replace the arithmetic that computes them.
//
// A value whose elements are all known numbers becomes a constant. A Reshape (Expand, ...) whose target is known as
// expressions is given a constant target where Reshape's own words 0 (as the input) and -1 (what remains) can say it,
// after which the Shape, Gather and Concat nodes that made the target are unused.
#include <algorithm>

#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

std::shared_ptr<Constant> MakeInts(DType dtype, const Shape& shape, const std::vector<Dim>& values) {
  std::vector<int64_t> wide;
  for (const Dim& dim : values) wide.push_back(dim.Const());
  if (dtype == DType::kInt64) return Constant::Copy(dtype, shape, wide.data(), wide.size() * 8);
  if (dtype == DType::kInt32) {
    const std::vector<int32_t> narrow(wide.begin(), wide.end());
    return Constant::Copy(dtype, shape, narrow.data(), narrow.size() * 4);
  }
  const std::vector<uint8_t> bits(wide.begin(), wide.end());
  return Constant::Copy(dtype, shape, bits.data(), bits.size());
}

int FoldKnownContents(Graph& graph, Node& node) {
  int rewrites = 0;
  for (Value* output : node.outputs) {
    if (!output || output->IsUnused() || !output->contents || !output->type.IsTensor()) continue;
    const DType dtype = output->type.dtype;
    if (dtype != DType::kInt64 && dtype != DType::kInt32 && dtype != DType::kBool) continue;
    const auto& contents = *output->contents;
    if (!std::all_of(contents.begin(), contents.end(), [](const Dim& dim) { return dim.IsConst(); })) continue;
    if (!output->type.IsStatic()) continue;
    const Shape shape = output->type.StaticShape();
    if (shape.Count() != static_cast<int64_t>(contents.size())) continue;
    rewrites += Replace(output, graph.AddConstant(MakeInts(dtype, shape, contents), output->name));
  }
  return rewrites;
}

// The target in Reshape's words, or nullopt. -1 is kept for what 0 cannot say: Reshape cannot divide by an extent of
// zero, and 0 needs no division.
std::optional<std::vector<int64_t>> ReshapeTarget(const std::vector<Dim>& from, const std::vector<Dim>& to) {
  std::vector<int64_t> target;
  bool remainder = false;
  for (size_t i = 0; i < to.size(); ++i) {
    if (to[i].IsConst()) {
      if (to[i].Const() == 0) return std::nullopt;  // 0 is taken
      target.push_back(to[i].Const());
    } else if (i < from.size() && from[i] == to[i]) {
      target.push_back(0);
    } else if (!remainder) {
      remainder = true;
      target.push_back(-1);
    } else {
      return std::nullopt;
    }
  }
  return target;
}

int FreeReshape(Graph& graph, Node& node) {
  const Value *input = node.Input(0), *target = node.Input(1), *output = node.Output(0);
  if (!target || target->IsConstant() || !input->type.HasRank() || !output->type.HasRank()) return 0;
  const std::vector<Dim> wanted = *output->type.shape;
  const auto words = ReshapeTarget(*input->type.shape, wanted);
  if (!words) return 0;
  Value* made = graph.AddConstant(Constant::Int64s(*words), target->name);
  // The runtime must come to the same type from the new target.
  Value* reshaped = Insert(&node, "Reshape", {node.Input(0), made});
  if (!reshaped->type.shape || *reshaped->type.shape != wanted) return 0;
  return Replace(node.Output(0), reshaped);
}

int Run(Graph& graph, PassContext&) {
  int rewrites = 0;
  for (Node* node : NodesOf(graph)) {
    if (node->op->effects.size() || node->op->Is(kControlFlow) || IsRandom(*node)) continue;
    rewrites += FoldKnownContents(graph, *node);
    if (node->op->Is("Reshape")) rewrites += FreeReshape(graph, *node);
  }
  if (rewrites) InferAgain(graph);
  return rewrites;
}

}  // namespace

const Pass kFoldShapes = {
    .name = "fold_shapes",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "inference proves the elements; a new target is kept only if it infers the same shape",
    .run = Run,
};

}  // namespace ziggurat
