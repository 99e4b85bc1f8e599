#include "ir/graph.h"

#include <algorithm>
#include <functional>
#include <unordered_map>

#include "ops/op_def.h"

namespace ziggurat {

Graph::Graph(std::string name, Graph* parent) : name_(std::move(name)), parent_(parent) {}

Graph::~Graph() {
  // Subgraphs use our values, so they go first.
  for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) (*node)->attributes.clear();
}

std::string Graph::UniqueName(const std::string& wanted) {
  auto& names = root().names_;
  std::string name = wanted.empty() ? "v" : wanted;
  auto [entry, fresh] = names.try_emplace(name, 0);
  if (fresh && !wanted.empty()) return name;
  while (true) {
    std::string candidate = Cat(name, "_", entry->second++);
    if (names.try_emplace(candidate, 0).second) return candidate;
  }
}

Value* Graph::NewValue(std::string name, Type type) {
  auto value = std::make_unique<Value>();
  value->name = UniqueName(name);
  value->type = std::move(type);
  value->graph = this;
  values_.push_back(std::move(value));
  return values_.back().get();
}

Value* Graph::AddInput(std::string name, Type type) {
  inputs_.push_back(NewValue(std::move(name), std::move(type)));
  return inputs_.back();
}

Value* Graph::AddConstant(std::shared_ptr<Constant> constant, std::string name) {
  Value* value = NewValue(name.empty() ? "c" : std::move(name), Type::Tensor(constant->dtype(), constant->shape()));
  value->type.encoding = constant->encoding();
  value->constant = std::move(constant);
  if ((IsInteger(value->type.dtype) || value->type.dtype == DType::kBool) && value->constant->shape().rank() <= 1 &&
      value->constant->shape().Count() <= 64) {
    value->contents.emplace();
    for (int64_t element : value->constant->ToInt64s()) value->contents->push_back(Dim(element));
  }
  return value;
}

Node* Graph::AddNode(const OpDef& op, std::vector<Value*> inputs, Attributes attributes,
                     std::vector<std::string> output_names, std::string name, Node* before) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Param* formal = op.Formal(static_cast<int>(i));
    if (inputs[i] && !inputs[i]->type.encoding.IsPlain() && formal && !formal->encoded)
      inputs[i] = Add(GetOp("Dequantize", "zig"), {inputs[i]}, {}, before);
  }
  auto owned = std::make_unique<Node>();
  Node* node = owned.get();
  node->op = &op;
  node->name = std::move(name);
  node->graph = this;
  node->inputs = std::move(inputs);
  node->attributes = std::move(attributes);
  while (!node->inputs.empty() && !node->inputs.back()) node->inputs.pop_back();
  while (!output_names.empty() && output_names.back() == "-") output_names.pop_back();
  node->position = nodes_.insert(before ? before->position : nodes_.end(), std::move(owned));
  for (Value* input : node->inputs)
    if (input) input->users.push_back(node);
  for (size_t i = 0; i < output_names.size(); ++i) {
    Value* value = nullptr;
    if (output_names[i] != "-") {
      value = NewValue(std::move(output_names[i]), Type{});
      value->producer = node;
      value->output_index = static_cast<int>(i);
    }
    node->outputs.push_back(value);
  }
  try {
    CheckSignature(*node);
    InferTypes(*node);
  } catch (...) {
    Erase(node);
    throw;
  }
  return node;
}

Value* Graph::Add(const OpDef& op, std::vector<Value*> inputs, Attributes attributes, Node* before) {
  return AddNode(op, std::move(inputs), std::move(attributes), {""}, "", before)->outputs[0];
}

void Graph::AddOutput(Value* value, std::string name) {
  ++value->graph_output_uses;
  outputs_.push_back(value);
  output_names_.push_back(std::move(name));
}

std::shared_ptr<Graph> Graph::NewSubgraph(std::string name) { return std::make_shared<Graph>(std::move(name), this); }

namespace {
void RemoveUse(Value* value, Node* node) {
  if (!value) return;
  auto use = std::find(value->users.begin(), value->users.end(), node);
  ZIGGURAT_CHECK(use != value->users.end());
  value->users.erase(use);
}
}  // namespace

void Graph::SetInput(Node* node, size_t index, Value* value) {
  if (index >= node->inputs.size()) node->inputs.resize(index + 1, nullptr);
  RemoveUse(node->inputs[index], node);
  node->inputs[index] = value;
  if (value) value->users.push_back(node);
}

void Graph::ReplaceAllUses(Value* from, Value* to) {
  if (from == to) return;
  const std::vector<Node*> users = from->users;
  for (Node* user : users)
    for (size_t i = 0; i < user->inputs.size(); ++i)
      if (user->inputs[i] == from) SetInput(user, i, to);
  if (!from->graph_output_uses) return;
  // Outputs of this graph, and of subgraphs that return a captured value.
  std::function<void(Graph&)> visit = [&](Graph& graph) {
    for (Value*& output : graph.outputs_)
      if (output == from) output = to, --from->graph_output_uses, ++to->graph_output_uses;
    for (auto& node : graph.nodes_)
      for (auto& [name, attribute] : node->attributes)
        if (auto* subgraph = std::get_if<std::shared_ptr<Graph>>(&attribute)) visit(**subgraph);
  };
  visit(*from->graph);
}

void Graph::Erase(Node* node) {
  // Uses inside the node's own subgraphs end with it.
  std::function<void(Graph&)> release = [&](Graph& graph) {
    for (Value* output : graph.outputs_)
      if (output->graph != &graph) --output->graph_output_uses;
    for (auto& inner : graph.nodes_) {
      for (Value* input : inner->inputs)
        if (input && input->graph != &graph) RemoveUse(input, inner.get());
      for (auto& [name, attribute] : inner->attributes)
        if (auto* subgraph = std::get_if<std::shared_ptr<Graph>>(&attribute)) release(**subgraph);
    }
  };
  for (auto& [name, attribute] : node->attributes)
    if (auto* subgraph = std::get_if<std::shared_ptr<Graph>>(&attribute)) release(**subgraph);
  for (Value* input : node->inputs) RemoveUse(input, node);
  for (Value* output : node->outputs) {
    if (!output) continue;
    ZIGGURAT_CHECK(output->IsUnused());
    root().names_.erase(output->name);
    std::erase_if(values_, [&](const auto& value) { return value.get() == output; });
  }
  nodes_.erase(node->position);
}

void Graph::EraseUnusedConstants() {
  std::erase_if(values_, [](const auto& value) { return value->IsConstant() && value->IsUnused(); });
}

void Graph::InferAll() {
  for (auto& node : nodes_) InferTypes(*node);
}

Dim Graph::NewSymbol(std::string hint, int input, int axis) {
  auto& symbols = root().symbols_;
  auto taken = [&](const std::string& name) {
    return std::any_of(symbols.begin(), symbols.end(), [&](const Symbol& symbol) { return symbol.name == name; });
  };
  std::string name = hint;
  for (int i = 1; taken(name); ++i) name = Cat(hint, "_", i);
  symbols.push_back({std::move(name), input, axis});
  return Dim::Symbol(static_cast<SymbolId>(symbols.size()) - 1);
}

Dim Graph::NamedSymbol(const std::string& name, int input, int axis) {
  auto& symbols = root().symbols_;
  for (size_t i = 0; i < symbols.size(); ++i)
    if (symbols[i].name == name) return Dim::Symbol(static_cast<SymbolId>(i));
  return NewSymbol(name, input, axis);
}

std::string Graph::ToString(const Dim& dim) const {
  return dim.ToString([this](SymbolId id) { return symbols()[id].name; });
}

std::string Graph::ToString(const Type& type) const {
  switch (type.kind) {
    case Kind::kSequence:
      return Cat("sequence(", ToString(*type.element), ")");
    case Kind::kOptional:
      return Cat("optional(", ToString(*type.element), ")");
    case Kind::kMap:
      return "map";
    case Kind::kResource:
      return "resource";
    case Kind::kSparse:
    case Kind::kTensor:
      break;
  }
  std::string out(Name(type.dtype));
  if (!type.shape) return out + "[*]";
  out += '[';
  for (size_t i = 0; i < type.shape->size(); ++i) out += Cat(i ? "," : "", ToString((*type.shape)[i]));
  return out + ']';
}

namespace {

using ValueMap = std::unordered_map<const Value*, Value*>;

// Nodes are copied with the types they have, not inferred again: a clone must equal its original.
void CopyInto(const Graph& from, Graph& to, ValueMap& map) {
  for (Value* input : from.inputs()) {
    map[input] = to.AddInput(input->name, input->type);
    map[input]->contents = input->contents;
  }
  for (const auto& value : from.values())
    if (value->IsConstant()) {
      map[value.get()] = to.AddConstant(value->constant, value->name);
      map[value.get()]->contents = value->contents;
    }
  for (const auto& node : from.nodes()) {
    std::vector<Value*> inputs;
    for (Value* input : node->inputs) inputs.push_back(input ? map.at(input) : nullptr);
    Attributes attributes = node->attributes;
    for (auto& [name, attribute] : attributes)
      if (auto* subgraph = std::get_if<std::shared_ptr<Graph>>(&attribute)) {
        auto copy = to.NewSubgraph((*subgraph)->name());
        CopyInto(**subgraph, *copy, map);
        attribute = std::move(copy);
      }
    std::vector<std::string> names;
    for (Value* output : node->outputs) names.push_back(output ? output->name : "-");
    Node* copy = to.AddNode(*node->op, std::move(inputs), std::move(attributes), std::move(names), node->name);
    for (size_t i = 0; i < copy->outputs.size(); ++i)
      if (Value* output = copy->outputs[i]) {
        map[node->outputs[i]] = output;
        output->type = node->outputs[i]->type;
        output->contents = node->outputs[i]->contents;
      }
  }
  for (size_t i = 0; i < from.outputs().size(); ++i) to.AddOutput(map.at(from.outputs()[i]), from.output_names()[i]);
}

}  // namespace

std::shared_ptr<Graph> Graph::Clone() const {
  ZIGGURAT_CHECK(parent_ == nullptr);
  auto copy = std::make_shared<Graph>(name_);
  copy->symbols_ = symbols_;
  ValueMap map;
  CopyInto(*this, *copy, map);
  return copy;
}

}  // namespace ziggurat
