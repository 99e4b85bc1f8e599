// Replaces an If whose condition is known by the branch that it takes.
#include <unordered_map>

#include "ir/verifier.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

using ValueMap = std::unordered_map<const Value*, Value*>;

void CopyNode(const Node& node, Graph& to, Node* before, ValueMap& map);

// Values of enclosing graphs are not in the map and stay what they are.
Value* Mapped(const ValueMap& map, Value* value) {
  auto found = map.find(value);
  return found == map.end() ? value : found->second;
}

void CopyBody(const Graph& from, Graph& to, Node* before, ValueMap& map) {
  for (const auto& value : from.values())
    if (value->IsConstant()) map[value.get()] = to.AddConstant(value->constant, value->name);
  for (const auto& node : from.nodes()) CopyNode(*node, to, before, map);
}

std::shared_ptr<Graph> CopySubgraph(const Graph& from, Graph& parent, ValueMap& map) {
  auto copy = parent.NewSubgraph(from.name());
  for (Value* input : from.inputs()) {
    map[input] = copy->AddInput(input->name, input->type);
    map[input]->contents = input->contents;
  }
  CopyBody(from, *copy, nullptr, map);
  for (size_t i = 0; i < from.outputs().size(); ++i)
    copy->AddOutput(Mapped(map, from.outputs()[i]), from.output_names()[i]);
  return copy;
}

void CopyNode(const Node& node, Graph& to, Node* before, ValueMap& map) {
  std::vector<Value*> inputs;
  for (Value* input : node.inputs) inputs.push_back(Mapped(map, input));
  Attributes attributes = node.attributes;
  for (auto& [name, attribute] : attributes)
    if (auto* subgraph = std::get_if<std::shared_ptr<Graph>>(&attribute)) attribute = CopySubgraph(**subgraph, to, map);
  std::vector<std::string> names;
  for (const Value* output : node.outputs) names.push_back(output ? output->name : "-");
  Node* copy = to.AddNode(*node.op, std::move(inputs), std::move(attributes), std::move(names), node.name, before);
  for (size_t i = 0; i < copy->outputs.size(); ++i)
    if (copy->outputs[i]) {
      map[node.outputs[i]] = copy->outputs[i];
      copy->outputs[i]->type = node.outputs[i]->type;
      copy->outputs[i]->contents = node.outputs[i]->contents;
    }
}

int Run(Graph& graph, PassContext&) {
  int rewrites = 0;
  for (Node* node : NodesOf(graph)) {
    if (!node->op->Is("If")) continue;
    const Value* condition = node->Input(0);
    if (!condition->IsConstant() || condition->constant->shape().Count() != 1) continue;
    const bool taken = condition->constant->ToInt64s()[0] != 0;
    const auto branch = node->Subgraph(taken ? "then_branch" : "else_branch");
    if (branch->outputs().size() < node->outputs.size()) continue;
    bool agree = true;
    for (size_t i = 0; i < node->outputs.size(); ++i)
      agree &= !node->outputs[i] || Agree(node->outputs[i]->type, branch->outputs()[i]->type);
    if (!agree) continue;
    ValueMap map;
    CopyBody(*branch, graph, node, map);
    for (size_t i = 0; i < node->outputs.size(); ++i)
      if (node->outputs[i]) Replace(node->outputs[i], Mapped(map, branch->outputs()[i]));
    graph.Erase(node);  // here and not by the sweep: a branch that writes state must not stay beside its copy
    ++rewrites;
  }
  return rewrites;
}

}  // namespace

const Pass kInlineIf = {
    .name = "inline_if",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "the condition is a constant, so the same branch runs every time",
    .run = Run,
    .repeat = true,
};

}  // namespace ziggurat
