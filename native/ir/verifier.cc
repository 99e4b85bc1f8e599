#include "ir/verifier.h"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "ops/infer.h"
#include "ops/op_def.h"

namespace ziggurat {
namespace {

class Verifier {
 public:
  explicit Verifier(const VerifyOptions& options) : options_(options) {}

  void Run(const Graph& root) {
    if (root.parent()) Fail("only an outermost graph can be verified");
    CollectValues(root);
    CheckGraph(root);
    CheckUses();
    CheckResources();
  }

 private:
  struct Effects {
    const Node* writer = nullptr;
    int writer_position = 0;
  };

  template <typename... Parts>
  [[noreturn]] void Fail(const Parts&... parts) const {
    throw Error(options_.code, parts...);
  }
  template <typename... Parts>
  [[noreturn]] void FailAt(const Node& node, const Parts&... parts) const {
    throw Error(options_.code, parts...).AtNode(node.op ? node.op->name : "?", node.name);
  }
  template <typename... Parts>
  [[noreturn]] void FailAt(const Value& value, const Parts&... parts) const {
    throw Error(options_.code, parts...).AtTensor(value.name);
  }

  void CollectValues(const Graph& graph);
  void CheckValue(const Graph& graph, const Value& value);
  void CheckGraph(const Graph& graph);
  void CheckNode(const Graph& graph, const Node& node, std::list<std::unique_ptr<Node>>::const_iterator position);
  void CheckInputs(const Node& node);
  void CheckOutputs(const Node& node);
  void CheckTypes(const Node& node);
  void CheckSymbols(const Graph& graph, const Value& value, const Type& type);
  void CheckEffects(const Node& node);
  void CheckUses();
  void CheckResources();

  const VerifyOptions& options_;
  std::unordered_map<const Value*, std::vector<const Node*>> uses_;  // counted again, to compare
  std::unordered_map<const Value*, int> output_uses_;
  std::unordered_set<const Value*> values_;  // all that exist
  std::unordered_set<std::string> names_;
  std::unordered_set<const Value*> visible_;  // defined so far, in scope
  std::unordered_map<const Value*, Effects> writers_;
  std::unordered_map<const Value*, int> last_use_;  // of resources
  int position_ = 0;
};

void Verifier::CollectValues(const Graph& graph) {
  for (const auto& value : graph.values()) {
    CheckValue(graph, *value);
    values_.insert(value.get());
  }
  for (const auto& node : graph.nodes())
    for (const auto& [name, attribute] : node->attributes)
      if (const auto* subgraph = std::get_if<std::shared_ptr<Graph>>(&attribute)) {
        if (!*subgraph) FailAt(*node, "attribute ", name, " is an empty graph");
        if ((*subgraph)->parent() != &graph) FailAt(*node, "the graph of attribute ", name, " belongs elsewhere");
        CollectValues(**subgraph);
      }
}

void Verifier::CheckValue(const Graph& graph, const Value& value) {
  if (value.graph != &graph) FailAt(value, "belongs to another graph than the one that owns it");
  if (value.name.empty()) FailAt(value, "has no name");
  if (!names_.insert(value.name).second) FailAt(value, "the name is used twice");
  CheckSymbols(graph, value, value.type);
  if (!value.IsConstant()) return;
  if (value.producer) FailAt(value, "is a constant and the output of ", value.producer->op->name);
  const Constant& constant = *value.constant;
  Type held = Type::Tensor(constant.dtype(), constant.shape());
  held.encoding = constant.encoding();
  if (!(value.type == held))
    FailAt(value, "has type ", graph.ToString(value.type), " and elements ", Name(constant.dtype()), constant.shape());
}

void Verifier::CheckSymbols(const Graph& graph, const Value& value, const Type& type) {
  std::set<SymbolId> symbols;
  if (type.shape)
    for (const Dim& dim : *type.shape) dim.CollectSymbols(symbols);
  if (!symbols.empty() && *symbols.rbegin() >= static_cast<SymbolId>(graph.symbols().size()))
    FailAt(value, "has a dimension of a symbol that does not exist");
  if (type.element) CheckSymbols(graph, value, *type.element);
}

void Verifier::CheckGraph(const Graph& graph) {
  std::vector<const Value*> local;
  auto define = [&](const Value* value) { visible_.insert(value), local.push_back(value); };
  for (const Value* input : graph.inputs()) {
    if (!values_.contains(input) || input->producer || input->IsConstant())
      Fail("an input of ", graph.name(), " is none");
    define(input);
  }
  for (const auto& value : graph.values())
    if (value->IsConstant()) define(value.get());
  for (auto position = graph.nodes().begin(); position != graph.nodes().end(); ++position) {
    CheckNode(graph, **position, position);
    for (const Value* output : (*position)->outputs)
      if (output) define(output);
  }
  if (graph.outputs().size() != graph.output_names().size()) Fail("graph ", graph.name(), ": outputs without names");
  for (const Value* output : graph.outputs()) {
    if (!visible_.contains(output)) Fail("an output of graph ", graph.name(), " is not defined in it");
    ++output_uses_[output];
    last_use_[output] = position_;
  }
  for (const Value* value : local) visible_.erase(value);
}

void Verifier::CheckNode(const Graph& graph, const Node& node,
                         std::list<std::unique_ptr<Node>>::const_iterator position) {
  ++position_;
  if (!node.op) FailAt(node, "has no op");
  if (node.graph != &graph) FailAt(node, "belongs to another graph than the one that owns it");
  if (node.position != position) FailAt(node, "does not know its position");
  CheckInputs(node);
  for (const auto& [name, attribute] : node.attributes)
    if (const auto* subgraph = std::get_if<std::shared_ptr<Graph>>(&attribute)) CheckGraph(**subgraph);
  CheckOutputs(node);
  CheckEffects(node);
  try {
    CheckSignature(node);
    if (options_.types) CheckTypes(node);
  } catch (Error& error) {
    throw Error(options_.code, error.message()).AtNode(node.op->name, node.name);
  }
}

void Verifier::CheckInputs(const Node& node) {
  for (const Value* input : node.inputs) {
    if (!input) continue;
    if (!values_.contains(input)) FailAt(node, "uses a value that does not exist");
    if (!visible_.contains(input)) FailAt(node, "uses '", input->name, "' before it is defined, or out of its scope");
    uses_[input].push_back(&node);
    if (input->type.kind == Kind::kResource) last_use_[input] = position_;
  }
}

void Verifier::CheckOutputs(const Node& node) {
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const Value* output = node.outputs[i];
    if (!output) continue;
    if (!values_.contains(output)) FailAt(node, "output ", i, " does not exist");
    if (output->producer != &node || output->output_index != static_cast<int>(i) || output->graph != node.graph)
      FailAt(node, "output '", output->name, "' does not know its producer");
  }
}

void Verifier::CheckTypes(const Node& node) {
  if (!node.op->infer) return;
  InferContext context(node);
  node.op->infer(context);
  for (size_t i = 0; i < node.outputs.size(); ++i)
    if (const Value* output = node.outputs[i]; output && !Agree(output->type, context.output_types[i]))
      FailAt(node, "output '", output->name, "' is ", node.graph->ToString(output->type), ", inference says ",
             node.graph->ToString(context.output_types[i]));
}

void Verifier::CheckEffects(const Node& node) {
  for (const Effect& effect : node.op->effects) {
    const Value* resource = node.Input(effect.input);
    if (!resource) continue;
    if (resource->type.kind != Kind::kResource) FailAt(node, "input '", resource->name, "' must be a resource");
    if (effect.output < 0) continue;
    Effects& entry = writers_[resource];
    if (entry.writer)
      FailAt(node, "writes '", resource->name, "', which ", entry.writer->op->name, " '", entry.writer->name,
             "' has written: a version has one writer");
    entry = {&node, position_};
  }
}

void Verifier::CheckUses() {
  for (const Value* value : values_) {
    std::vector<const Node*> recorded(value->users.begin(), value->users.end()), counted = uses_[value];
    std::sort(recorded.begin(), recorded.end());
    std::sort(counted.begin(), counted.end());
    if (recorded != counted) FailAt(*value, "records ", recorded.size(), " uses, has ", counted.size());
    if (value->graph_output_uses != output_uses_[value])
      FailAt(*value, "records ", value->graph_output_uses, " uses as an output, has ", output_uses_[value]);
    if (value->producer && !value->producer->Output(value->output_index))
      FailAt(*value, "its producer does not know it");
  }
}

void Verifier::CheckResources() {
  for (const auto& [value, entry] : writers_)
    if (last_use_[value] > entry.writer_position)
      FailAt(*value, "is used after ", entry.writer->op->name, " '", entry.writer->name, "' wrote its next version");
}

}  // namespace

bool Agree(const Type& a, const Type& b) {
  const Type* plain = a.IsTensor() && a.dtype == DType::kUndefined && !a.shape ? &a : &b;
  if (plain->IsTensor() && plain->dtype == DType::kUndefined && !plain->shape) return true;  // nothing known
  if (a.kind != b.kind || !(a.encoding == b.encoding)) return false;
  if (a.dtype != b.dtype && a.dtype != DType::kUndefined && b.dtype != DType::kUndefined) return false;
  if (a.shape && b.shape) {
    if (a.shape->size() != b.shape->size()) return false;
    for (size_t i = 0; i < a.shape->size(); ++i) {
      const Dim &x = (*a.shape)[i], &y = (*b.shape)[i];
      if (x.IsConst() && y.IsConst() && !(x == y)) return false;
    }
  }
  return !a.element || !b.element || Agree(*a.element, *b.element);
}

void Verify(const Graph& graph, const VerifyOptions& options) { Verifier(options).Run(graph); }

}  // namespace ziggurat
