// The graph: nodes in execution order, values in SSA form, subgraphs as attributes.
//
// A node inside a subgraph may use values of the enclosing graphs directly. Values and nodes are owned by their
// graph and keep their address until erased. Not thread-safe.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ir/attribute.h"
#include "ir/constant.h"
#include "ir/type.h"

namespace ziggurat {

struct OpDef;
struct Node;
class Graph;

struct Value {
  std::string name;  // unique within the outermost graph
  Type type;
  Graph* graph = nullptr;
  Node* producer = nullptr;  // null: a graph input or a constant
  int output_index = 0;
  std::shared_ptr<Constant> constant;  // set: a constant
  // The elements of a small integer tensor where they are known as expressions (shapes in the making), row-major.
  std::optional<std::vector<Dim>> contents;
  std::vector<Node*> users;  // one entry per use; uses in subgraphs included
  int graph_output_uses = 0;

  bool IsConstant() const { return constant != nullptr; }
  bool IsUnused() const { return users.empty() && graph_output_uses == 0; }
};

struct Node {
  const OpDef* op = nullptr;
  std::string name;             // as in the model's file; may be empty or repeated
  std::vector<Value*> inputs;   // null: an absent optional input
  std::vector<Value*> outputs;  // null: an absent optional output
  Attributes attributes;
  Graph* graph = nullptr;
  std::list<std::unique_ptr<Node>>::iterator position;

  Value* Input(size_t i) const { return i < inputs.size() ? inputs[i] : nullptr; }
  Value* Output(size_t i) const { return i < outputs.size() ? outputs[i] : nullptr; }

  // Attribute readers: the node's value, otherwise the op's default, otherwise `fallback`; a required attribute that
  // is missing or of another kind was refused when the node was added.
  int64_t Int(std::string_view attribute, int64_t fallback = 0) const;
  float Float(std::string_view attribute, float fallback = 0) const;
  std::string String(std::string_view attribute, std::string_view fallback = "") const;
  std::vector<int64_t> Ints(std::string_view attribute) const;
  std::vector<float> Floats(std::string_view attribute) const;
  std::vector<std::string> Strings(std::string_view attribute) const;
  std::shared_ptr<Constant> Tensor(std::string_view attribute) const;  // null if absent
  std::shared_ptr<Graph> Subgraph(std::string_view attribute) const;   // null if absent
  bool Has(std::string_view attribute) const { return attributes.find(attribute) != attributes.end(); }
};

struct Symbol {
  std::string name;
  // Where its value comes from: dimension `axis` of graph input `input`, or, with input -1, a step while it runs.
  int input = -1;
  int axis = -1;
};

class Graph {
 public:
  explicit Graph(std::string name, Graph* parent = nullptr);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  const std::string& name() const { return name_; }
  Graph* parent() const { return parent_; }
  Graph& root() { return parent_ ? parent_->root() : *this; }
  const Graph& root() const { return parent_ ? parent_->root() : *this; }

  // ---- building ----
  Value* AddInput(std::string name, Type type);
  Value* AddConstant(std::shared_ptr<Constant> constant, std::string name = "");
  // Appends (or inserts before `before`) a node, creates its outputs and infers their types. An empty output name
  // asks for a generated one; "-" leaves that output absent. An encoded input that the op does not take as it is goes
  // through a zig.Dequantize first. Throws with the node named, and leaves nothing behind.
  Node* AddNode(const OpDef& op, std::vector<Value*> inputs, Attributes attributes,
                std::vector<std::string> output_names, std::string name = "", Node* before = nullptr);
  // One-output convenience for passes and expansions.
  Value* Add(const OpDef& op, std::vector<Value*> inputs, Attributes attributes = {}, Node* before = nullptr);
  void AddOutput(Value* value, std::string name);
  // An empty child graph for a subgraph attribute. Its parent is this graph.
  std::shared_ptr<Graph> NewSubgraph(std::string name);

  // ---- rewriting ----
  void SetInput(Node* node, size_t index, Value* value);
  // All uses of `from`, graph outputs included, become uses of `to`.
  void ReplaceAllUses(Value* from, Value* to);
  // Removes a node whose outputs are unused, and its outputs.
  void Erase(Node* node);
  // Removes constants without uses.
  void EraseUnusedConstants();
  // Runs type inference again on every node, in order (after a rewrite changed a type).
  void InferAll();

  // ---- reading ----
  const std::list<std::unique_ptr<Node>>& nodes() const { return nodes_; }
  const std::vector<Value*>& inputs() const { return inputs_; }
  const std::vector<Value*>& outputs() const { return outputs_; }
  const std::vector<std::string>& output_names() const { return output_names_; }
  const std::list<std::unique_ptr<Value>>& values() const { return values_; }

  // ---- symbols: one table, of the outermost graph ----
  const std::vector<Symbol>& symbols() const { return root().symbols_; }
  Dim NewSymbol(std::string hint, int input = -1, int axis = -1);
  // The symbol of that name, made on first use: equal names are equal dimensions.
  Dim NamedSymbol(const std::string& name, int input, int axis);
  std::string ToString(const Dim& dim) const;
  std::string ToString(const Type& type) const;

  // A deep copy that shares constants. Of an outermost graph only.
  std::shared_ptr<Graph> Clone() const;

 private:
  Value* NewValue(std::string name, Type type);
  std::string UniqueName(const std::string& wanted);

  std::string name_;
  Graph* parent_;
  std::list<std::unique_ptr<Node>> nodes_;
  std::list<std::unique_ptr<Value>> values_;
  std::vector<Value*> inputs_, outputs_;
  std::vector<std::string> output_names_;
  // Of the outermost graph only.
  std::vector<Symbol> symbols_;
  std::map<std::string, int> names_;
};

}  // namespace ziggurat
