#include "passes/rewrite.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "ir/verifier.h"
#include "ops/op_def.h"
#include "tensor/half.h"

namespace ziggurat {
namespace {

void CollectGraphs(Graph& graph, std::vector<Graph*>& out) {
  for (const auto& node : graph.nodes())
    for (const auto& [name, attribute] : node->attributes)
      if (const auto* subgraph = std::get_if<std::shared_ptr<Graph>>(&attribute)) CollectGraphs(**subgraph, out);
  out.push_back(&graph);
}

// True if `test` holds for the node or one nested in it.
template <typename Test>
bool AnyNested(const Node& node, const Test& test) {
  if (test(node)) return true;
  for (const auto& [name, attribute] : node.attributes)
    if (const auto* subgraph = std::get_if<std::shared_ptr<Graph>>(&attribute))
      for (const auto& inner : (*subgraph)->nodes())
        if (AnyNested(*inner, test)) return true;
  return false;
}

// What `known` says of a dimension where `type` has only a symbol.
void Refine(Type& type, const Type& known) {
  if (type.dtype == DType::kUndefined) type.dtype = known.dtype;
  if (!known.shape) return;
  if (!type.shape) type.shape = known.shape;
  for (size_t i = 0; i < type.shape->size(); ++i)
    if (!(*type.shape)[i].IsConst() && (*known.shape)[i].IsConst()) (*type.shape)[i] = (*known.shape)[i];
}

// True if only running tells the dimension.
bool IsUnbound(const Graph& graph, const Dim& dim) {
  std::set<SymbolId> symbols;
  dim.CollectSymbols(symbols);
  return std::any_of(symbols.begin(), symbols.end(), [&](SymbolId id) { return graph.symbols()[id].input < 0; });
}

void InferAgain(Node& node) {
  std::vector<std::pair<Type, std::optional<std::vector<Dim>>>> before;
  for (const Value* output : node.outputs)
    before.emplace_back(output ? output->type : Type{}, output ? output->contents : std::nullopt);
  bool failed = false;
  try {
    InferTypes(node);
  } catch (const Error&) {
    failed = true;  // what became known cannot be: the node says so when it runs
  }
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    Value* output = node.outputs[i];
    if (!output) continue;
    auto& [type, contents] = before[i];
    if (failed || !Agree(output->type, type)) {
      output->type = type;
      output->contents = contents;
      continue;
    }
    Refine(output->type, type);
    for (size_t axis = 0; type.shape && axis < type.shape->size(); ++axis)
      if (IsUnbound(*node.graph, (*output->type.shape)[axis]) && !IsUnbound(*node.graph, (*type.shape)[axis]))
        (*output->type.shape)[axis] = (*type.shape)[axis];
    if (!output->contents) output->contents = contents;
  }
}

}  // namespace

void InferAgain(Graph& graph) {
  for (const auto& node : graph.nodes()) {
    for (const auto& [name, attribute] : node->attributes)
      if (const auto* subgraph = std::get_if<std::shared_ptr<Graph>>(&attribute)) InferAgain(**subgraph);
    InferAgain(*node);
  }
}

std::vector<Graph*> GraphsInnermostFirst(Graph& graph) {
  std::vector<Graph*> out;
  CollectGraphs(graph, out);
  return out;
}

std::vector<Node*> NodesOf(const Graph& graph) {
  std::vector<Node*> out;
  out.reserve(graph.nodes().size());
  for (const auto& node : graph.nodes()) out.push_back(node.get());
  return out;
}

bool WritesState(const Node& node) {
  return AnyNested(node, [](const Node& inner) {
    return std::any_of(inner.op->effects.begin(), inner.op->effects.end(),
                       [](const Effect& effect) { return effect.output >= 0; });
  });
}

bool IsRandom(const Node& node) {
  return AnyNested(node, [](const Node& inner) { return inner.op->Is(kRandom); });
}

int SweepDead(Graph& graph) {
  int erased = 0;
  std::vector<Node*> nodes = NodesOf(graph);
  for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
    const auto& outputs = (*node)->outputs;
    const bool used =
        std::any_of(outputs.begin(), outputs.end(), [](Value* value) { return value && !value->IsUnused(); });
    if (used || WritesState(**node)) continue;
    graph.Erase(*node);
    ++erased;
  }
  graph.EraseUnusedConstants();
  return erased;
}

bool Replace(Value* from, Value* to) {
  if (from == to || !Agree(from->type, to->type)) return false;
  // A graph's input and a constant are what they are; the runtime checks the first, the second is known.
  if (to->producer) {
    Refine(to->type, from->type);
    if (!to->contents) to->contents = from->contents;
  }
  from->graph->ReplaceAllUses(from, to);
  return true;
}

Value* Insert(Node* before, std::string_view op, std::vector<Value*> inputs, Attributes attributes) {
  return before->graph->Add(GetOp(op), std::move(inputs), std::move(attributes), before);
}

Value* InsertZig(Node* before, std::string_view op, std::vector<Value*> inputs, Attributes attributes) {
  return before->graph->Add(GetOp(op, "zig"), std::move(inputs), std::move(attributes), before);
}

namespace {

// The value with other extents of one; null where others differ too. Unlike a target's -1 this says two dimensions that
// move, and of an empty tensor.
Value* WithOtherOnes(Node& before, Value* value, const std::vector<Dim>& shape) {
  const std::vector<Dim>& from = *value->type.shape;
  std::vector<int64_t> old_ones, new_ones;
  size_t i = 0, j = 0;
  while (i < from.size() || j < shape.size()) {
    if (i < from.size() && from[i].IsConst(1))
      old_ones.push_back(static_cast<int64_t>(i++));
    else if (j < shape.size() && shape[j].IsConst(1))
      new_ones.push_back(static_cast<int64_t>(j++));
    else if (i == from.size() || j == shape.size() || !(from[i++] == shape[j++]))
      return nullptr;
  }
  const auto axes = [&](const std::vector<int64_t>& ones) { return before.graph->AddConstant(Constant::Int64s(ones)); };
  if (!old_ones.empty()) value = Insert(&before, "Squeeze", {value, axes(old_ones)});
  return new_ones.empty() ? value : Insert(&before, "Unsqueeze", {value, axes(new_ones)});
}

}  // namespace

Value* ViewAs(Node& before, Value* value, const std::vector<Dim>& shape) {
  const std::vector<Dim>& from = *value->type.shape;
  if (from == shape) return value;
  std::vector<int64_t> target;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i].IsConst(0)) return nullptr;  // Reshape reads 0 as "keep"
    const bool kept = i < from.size() && from[i] == shape[i];
    target.push_back(shape[i].IsConst() ? shape[i].Const() : kept ? 0 : -1);
  }
  const int64_t unknown = std::count(target.begin(), target.end(), -1);
  if (unknown > 0)
    if (Value* made = WithOtherOnes(before, value, shape)) return made;
  if (unknown > 1) return nullptr;
  Value* made = Insert(&before, "Reshape", {value, before.graph->AddConstant(Constant::Int64s(target))});
  return made->type.shape && *made->type.shape == shape ? made : nullptr;
}

bool IsRealType(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat64 || dtype == DType::kFloat16 || dtype == DType::kBFloat16;
}

std::optional<std::vector<double>> ReadReals(const Value* value) {
  if (!value || !value->IsConstant() || !IsRealType(value->constant->dtype())) return std::nullopt;
  const TensorView view = value->constant->View();
  std::vector<double> out(static_cast<size_t>(view.Count()));
  for (size_t i = 0; i < out.size(); ++i) {
    if (view.dtype == DType::kFloat32) out[i] = view.As<float>()[i];
    if (view.dtype == DType::kFloat64) out[i] = view.As<double>()[i];
    if (view.dtype == DType::kFloat16) out[i] = Float16ToFloat(view.As<uint16_t>()[i]);
    if (view.dtype == DType::kBFloat16) out[i] = BFloat16ToFloat(view.As<uint16_t>()[i]);
  }
  return out;
}

std::optional<double> UniformReal(const Value* value) {
  if (!value || !value->IsConstant() || value->constant->shape().Count() > 4096) return std::nullopt;
  const auto elements = ReadReals(value);
  if (!elements || elements->empty()) return std::nullopt;
  for (double element : *elements)
    if (std::memcmp(&element, &elements->front(), sizeof element) != 0) return std::nullopt;
  return elements->front();
}

bool IsScalar(const Value* value, double expected, double relative) {
  if (!value || !value->IsConstant() || value->constant->shape().Count() != 1) return false;
  if (IsInteger(value->constant->dtype())) return static_cast<double>(value->constant->ToInt64s()[0]) == expected;
  const auto elements = ReadReals(value);
  return elements && std::fabs(elements->front() - expected) <= relative * std::fabs(expected);
}

std::optional<std::vector<int64_t>> ReadInts(const Value* value) {
  if (!value || !value->IsConstant() || !IsInteger(value->constant->dtype())) return std::nullopt;
  return value->constant->ToInt64s();
}

std::shared_ptr<Constant> MakeReals(DType dtype, const Shape& shape, const std::vector<double>& values) {
  ZIGGURAT_CHECK(IsRealType(dtype) && static_cast<int64_t>(values.size()) == shape.Count());
  auto constant = Constant::Zeros(dtype, shape);
  const TensorView view = constant->View();
  for (size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::kFloat32) view.As<float>()[i] = static_cast<float>(values[i]);
    if (dtype == DType::kFloat64) view.As<double>()[i] = values[i];
    if (dtype == DType::kFloat16) view.As<uint16_t>()[i] = FloatToFloat16(values[i]);
    if (dtype == DType::kBFloat16)
      view.As<uint16_t>()[i] = static_cast<uint16_t>(EncodeFloat<kFormatBFloat16>(values[i]));
  }
  return constant;
}

bool SameShape(const Value* a, const Value* b) {
  return a && b && a->type.shape && b->type.shape && *a->type.shape == *b->type.shape;
}

bool SameType(const Value* a, const Value* b) {
  return SameShape(a, b) && a->type == b->type && a->type.dtype != DType::kUndefined;
}

bool IsViewOf(const Node* node, const Value* value) {
  if (!node || node->graph != value->graph || !node->op->Is(kView) || node->Output(0) != value) return false;
  const Value* input = node->Input(0);
  return input && input->type.IsTensor() && input->type.HasRank() && input->type.dtype == value->type.dtype;
}

bool UsedOnce(const Value* value) {
  return value->users.size() == 1 && value->graph_output_uses == 0 && value->users[0]->graph == value->graph;
}

}  // namespace ziggurat
