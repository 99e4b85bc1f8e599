// Neighbours that work element by element on one shape become zig.Elementwise, which computes all of them on a tile of
// elements before it goes on to the next: intermediate tensors are neither written nor read.
#include <algorithm>
#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "ir/verifier.h"
#include "ops/element_program.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

// Beside the kernel's limits, for which a larger group would be computed node by node again.
constexpr size_t kMostOperands = 40;

bool IsElementType(DType dtype) { return dtype == DType::kFloat32 || dtype == DType::kBool; }

// A node that a program can hold, with a result that somebody of its own graph reads.
bool CanJoin(const Node& node) {
  if (node.outputs.size() != 1 || !node.outputs[0] || node.outputs[0]->IsUnused()) return false;
  const Value& output = *node.outputs[0];
  if (!output.type.HasRank() || !IsElementType(output.type.dtype)) return false;
  std::vector<DType> types;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Value* input = node.inputs[i];
    if (!input && !IsElementBound(*node.op, i)) return false;
    if (input && !input->type.HasRank()) return false;
    types.push_back(input ? input->type.dtype : DType::kUndefined);
  }
  if (types.empty() || ElementResult(*node.op, types, node.attributes) != output.type.dtype) return false;
  return std::all_of(output.users.begin(), output.users.end(),
                     [&](const Node* user) { return user->graph == node.graph; });
}

class Fuser {
 public:
  explicit Fuser(Graph& graph) : graph_(graph) {}

  int Run() {
    for (Node* node : NodesOf(graph_))
      if (CanJoin(*node)) free_.insert(node);
    int rewrites = 0;
    for (Node* seed : NodesOf(graph_)) {
      if (!free_.contains(seed)) continue;
      Number();
      Grow(*seed);
      for (Node* member : members_) free_.erase(member);
      if (members_.size() > 1) rewrites += Emit();
    }
    return rewrites;
  }

 private:
  void Number() {
    int position = 0;
    order_.clear();
    for (const auto& node : graph_.nodes()) order_[node.get()] = position++;
  }

  // Takes in neighbours as long as there are some that fit.
  void Grow(Node& seed) {
    members_ = {&seed};
    inside_ = {&seed};
    for (bool grown = true; grown;) {
      grown = false;
      for (Node* candidate : Neighbours()) {
        if (members_.size() == kMaxProgram) return;
        if (inside_.contains(candidate)) continue;
        members_.push_back(candidate);
        inside_.insert(candidate);
        if (Fits()) {
          grown = true;
          continue;
        }
        members_.pop_back();
        inside_.erase(candidate);
      }
    }
  }

  // Nodes that read a member's result or make what one reads, element for element; in the graph's order.
  std::vector<Node*> Neighbours() const {
    std::vector<Node*> found;
    const auto consider = [&](Node* node, const Node* reader, const Value* value) {
      if (!node || !free_.contains(node) || inside_.contains(node)) return;
      if (!SameShape(node->outputs[0], members_[0]->outputs[0])) return;
      for (size_t i = 0; i < reader->inputs.size(); ++i)
        if (reader->inputs[i] == value && IsElementBound(*reader->op, i)) return;
      found.push_back(node);
    };
    for (const Node* member : members_) {
      for (Node* user : member->outputs[0]->users) consider(user, user, member->outputs[0]);
      for (const Value* input : member->inputs)
        if (input && input->graph == &graph_) consider(input->producer, member, input);
    }
    std::sort(found.begin(), found.end(), [&](Node* a, Node* b) { return order_.at(a) < order_.at(b); });
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
  }

  // There is a place in the order behind all that the group reads and before all that read it, so that no path leads
  // out of the group and back; and its inputs and results are few enough.
  bool Fits() {
    int last_made = -1;
    first_user_ = std::numeric_limits<int>::max();
    size_t results = 0;
    std::unordered_set<const Value*> inputs;
    for (const Node* member : members_) {
      for (const Value* input : member->inputs) {
        if (!input || (input->producer && inside_.contains(input->producer))) continue;
        inputs.insert(input);
        if (input->graph == &graph_ && input->producer) last_made = std::max(last_made, order_.at(input->producer));
      }
      bool is_result = member->outputs[0]->graph_output_uses > 0;
      for (Node* user : member->outputs[0]->users)
        if (!inside_.contains(user)) {
          is_result = true;
          first_user_ = std::min(first_user_, order_.at(user));
        }
      results += is_result;
    }
    return last_made < first_user_ && inputs.size() + results <= kMostOperands;
  }

  bool IsResult(const Node& member) const {
    const Value& output = *member.outputs[0];
    return output.graph_output_uses > 0 ||
           std::any_of(output.users.begin(), output.users.end(), [&](Node* user) { return !inside_.contains(user); });
  }

  int Emit() {
    Fits();  // of the group as it is now: where its first reader stands
    std::sort(members_.begin(), members_.end(), [&](Node* a, Node* b) { return order_.at(a) < order_.at(b); });
    std::vector<Value*> inputs;
    std::unordered_map<const Value*, int> numbers;
    for (const Node* member : members_)
      for (Value* input : member->inputs)
        if (input && !(input->producer && inside_.contains(input->producer)) &&
            numbers.try_emplace(input, static_cast<int>(inputs.size())).second)
          inputs.push_back(input);
    std::vector<std::string> program;
    std::vector<int64_t> results;
    const int count = static_cast<int>(inputs.size());
    for (const Node* member : members_) {
      ElementInstruction instruction{member->op, {}, member->attributes};
      for (const Value* input : member->inputs) instruction.operands.push_back(input ? numbers.at(input) : -1);
      if (IsResult(*member)) results.push_back(static_cast<int64_t>(program.size()));
      numbers[member->outputs[0]] = count + static_cast<int>(program.size());
      program.push_back(PrintInstruction(instruction, count));
    }
    return Insert(std::move(inputs), std::move(program), results);
  }

  int Insert(std::vector<Value*> inputs, std::vector<std::string> program, const std::vector<int64_t>& results) {
    Node* before = nullptr;
    for (const auto& [node, position] : order_)
      if (position == first_user_) before = node;
    Attributes attributes = {{"program", std::move(program)}};
    if (results != std::vector<int64_t>{static_cast<int64_t>(members_.size()) - 1}) attributes["results"] = results;
    const Node* made = graph_.AddNode(GetOp("Elementwise", "zig"), std::move(inputs), std::move(attributes),
                                      std::vector<std::string>(results.size()), members_.back()->name, before);
    const auto old = [&](size_t i) { return members_[static_cast<size_t>(results[i])]->outputs[0]; };
    for (size_t i = 0; i < results.size(); ++i)
      if (!Agree(old(i)->type, made->outputs[i]->type)) return 0;
    for (size_t i = 0; i < results.size(); ++i) Replace(old(i), made->outputs[i]);
    return 1;
  }

  Graph& graph_;
  std::unordered_set<Node*> free_;  // may join a group, and are in none yet
  std::unordered_map<Node*, int> order_;
  std::vector<Node*> members_;
  std::unordered_set<Node*> inside_;  // the members
  int first_user_ = 0;
};

int Run(Graph& graph, PassContext& context) {
  if (!context.Supports(GetOp("Elementwise", "zig"), DType::kFloat32)) return 0;
  return Fuser(graph).Run();
}

}  // namespace

const Pass kFuseElementwise = {
    .name = "fuse_elementwise",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "the kernel runs the functions that the nodes would, on the same elements; a program is its nodes",
    .run = Run,
};

}  // namespace ziggurat
