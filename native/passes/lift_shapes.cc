// Dimensions that are the inputs' are read from the inputs.
//
//   Shape(layer norm of an embedding of %ids) -> Gather(.., 1)      is      Squeeze(Shape(%ids) {start = 1, end = 2})
//
// Exporters ask the tensor at hand for its shape. That keeps it alive, and is a use that stands in the way of a fusion.
#include <algorithm>

#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

// The input that a dimension is read from, and where it stands there.
const Symbol* PlaceOf(const Graph& graph, const Dim& dim) {
  const auto id = dim.AsSymbol();
  if (!id) return nullptr;
  const Symbol& symbol = graph.symbols()[static_cast<size_t>(*id)];
  if (symbol.input < 0) return nullptr;
  const Value* input = graph.inputs()[static_cast<size_t>(symbol.input)];
  const bool is_there = input->type.IsTensor() && input->type.HasRank() && symbol.axis < input->type.Rank() &&
                        (*input->type.shape)[static_cast<size_t>(symbol.axis)] == dim;
  return is_there ? &symbol : nullptr;
}

// A small int64 tensor whose elements are all numbers or dimensions of inputs.
bool IsKnown(const Graph& graph, const Value* value) {
  if (!value || !value->contents || !value->type.IsTensor() || value->type.dtype != DType::kInt64) return false;
  if (!value->type.HasRank() || value->type.Rank() > 1 || value->contents->empty()) return false;
  return std::all_of(value->contents->begin(), value->contents->end(),
                     [&](const Dim& dim) { return dim.IsConst() || PlaceOf(graph, dim); });
}

bool ReadsInput(const Value* value) {
  const Node* node = value->producer;
  return node && node->op->Is("Shape") && !node->Input(0)->producer && !node->Input(0)->IsConstant();
}

// Made from the inputs' shapes already.
bool IsLifted(const Value* value) {
  if (ReadsInput(value)) return true;
  const Node* node = value->producer;
  if (!node->op->Is("Squeeze") && !node->op->Is("Concat")) return false;
  return std::all_of(node->inputs.begin(), node->inputs.end(), [](const Value* input) {
    return input && (input->IsConstant() || (ReadsInput(input) && input->contents && input->contents->size() == 1));
  });
}

// True if some use is not of the kind that only makes another known value of this one.
bool IsReadAsItIs(const Graph& graph, const Value* value) {
  if (value->graph_output_uses) return true;
  return std::any_of(value->users.begin(), value->users.end(), [&](const Node* user) {
    return user->graph != &graph || user->outputs.size() != 1 || !IsKnown(graph, user->Output(0));
  });
}

// [dim] as int64[1].
Value* ReadDim(Graph& graph, Node& before, const Dim& dim) {
  if (dim.IsConst()) return graph.AddConstant(Constant::Int64s({dim.Const()}));
  const Symbol& place = *PlaceOf(graph, dim);
  const int64_t axis = place.axis;
  return Insert(&before, "Shape", {graph.inputs()[static_cast<size_t>(place.input)]},
                {{"start", axis}, {"end", axis + 1}});
}

int Lift(Graph& graph, Node& node) {
  Value* value = node.outputs.size() == 1 ? node.Output(0) : nullptr;
  if (!IsKnown(graph, value) || value->IsUnused() || IsLifted(value) || !IsReadAsItIs(graph, value)) return 0;
  std::vector<Value*> dims;
  for (const Dim& dim : *value->contents) dims.push_back(ReadDim(graph, node, dim));
  Value* made = dims.size() == 1 ? dims[0] : Insert(&node, "Concat", std::move(dims), {{"axis", int64_t{0}}});
  if (value->type.Rank() == 0) made = Insert(&node, "Squeeze", {made});
  return Replace(value, made);
}

int Run(Graph& graph, PassContext&) {
  if (graph.parent()) return 0;
  int rewrites = 0;
  for (Node* node : NodesOf(graph)) rewrites += Lift(graph, *node);
  return rewrites;
}

}  // namespace

const Pass kLiftShapes = {
    .name = "lift_shapes",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "inference proves the elements; a symbol's value is the dimension of the input that it stands for",
    .run = Run,
};

}  // namespace ziggurat
