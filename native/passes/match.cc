#include "passes/match.h"

#include <algorithm>
#include <unordered_set>

#include "ops/op_def.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

using Continue = std::function<bool()>;

// Backtracking by continuation: what follows a choice decides whether the choice stands.
class Search {
 public:
  Search(const Pattern& root, Value* value) : root_(root), value_(value) {}

  bool Run() {
    return Visit(root_, value_, [this] { return Closed(); });
  }
  Matched Take() { return Matched{std::move(values_), std::move(nodes_)}; }

 private:
  bool Visit(const Pattern& pattern, Value* value, const Continue& next);
  bool VisitNode(const Pattern& pattern, Value* value, const Continue& next);
  bool VisitInputs(const Pattern& pattern, const std::vector<Value*>& inputs, size_t i, const Continue& next);
  bool Closed() const;

  const Pattern& root_;
  Value* value_;
  std::unordered_map<const void*, Value*> values_;
  std::vector<Node*> nodes_;  // matched, the root's first
};

bool Search::Visit(const Pattern& pattern, Value* value, const Continue& next) {
  if (!value) return false;
  if (auto bound = values_.find(pattern.Key()); bound != values_.end()) return bound->second == value && next();
  if (!pattern->test || pattern->test(*value)) {
    values_[pattern.Key()] = value;
    if (pattern->ops.empty() ? next() : VisitNode(pattern, value, next)) return true;
    values_.erase(pattern.Key());
  }
  return pattern->optional && Visit(pattern->inputs[0], value, next);
}

bool Search::VisitNode(const Pattern& pattern, Value* value, const Continue& next) {
  Node* node = value->producer;
  if (!node || node->graph != value_->graph || value->output_index != 0 || !node->op->domain.empty()) return false;
  if (std::find(pattern->ops.begin(), pattern->ops.end(), node->op->name) == pattern->ops.end()) return false;
  if (pattern->node_test && !pattern->node_test(*node)) return false;
  for (size_t i = pattern->inputs.size(); i < node->inputs.size(); ++i)
    if (node->inputs[i]) return false;
  std::vector<Value*> inputs = node->inputs;
  inputs.resize(pattern->inputs.size(), nullptr);
  nodes_.push_back(node);
  if (VisitInputs(pattern, inputs, 0, next)) return true;
  if (node->op->Is(kCommutative) && inputs.size() == 2 && inputs[0] != inputs[1]) {
    std::swap(inputs[0], inputs[1]);
    if (VisitInputs(pattern, inputs, 0, next)) return true;
  }
  nodes_.pop_back();
  return false;
}

bool Search::VisitInputs(const Pattern& pattern, const std::vector<Value*>& inputs, size_t i, const Continue& next) {
  if (i == inputs.size()) return next();
  return Visit(pattern->inputs[i], inputs[i], [&, i] { return VisitInputs(pattern, inputs, i + 1, next); });
}

bool Search::Closed() const {
  const std::unordered_set<Node*> inside(nodes_.begin(), nodes_.end());
  for (const Node* node : nodes_) {
    if (node == value_->producer) continue;
    for (const Value* output : node->outputs) {
      if (!output) continue;
      if (output->graph_output_uses) return false;
      for (Node* user : output->users)
        if (!inside.contains(user)) return false;
    }
  }
  return true;
}

}  // namespace

Pattern Pattern::If(NodePredicate test) const {
  Tree tree = *tree_;
  tree.node_test = std::move(test);
  return Pattern(std::move(tree));
}

Pattern Any() { return Pattern({}); }
Pattern AnyIf(Pattern::Predicate test) { return Pattern({{}, {}, std::move(test), {}}); }
Pattern AnyConstant() {
  return AnyIf([](const Value& value) { return value.IsConstant(); });
}
Pattern Scalar(double value, double relative) {
  return AnyIf([=](const Value& found) { return IsScalar(&found, value, relative); });
}
Pattern AnyScalar() {
  return AnyIf([](const Value& value) {
    return value.IsConstant() && IsRealType(value.constant->dtype()) && value.constant->shape().Count() == 1;
  });
}
Pattern Op(std::string_view name, std::vector<Pattern> inputs) { return OneOf({name}, std::move(inputs)); }
Pattern OneOf(std::vector<std::string_view> names, std::vector<Pattern> inputs) {
  return Pattern({std::move(names), std::move(inputs), {}, {}});
}
Pattern Maybe(std::string_view name, std::vector<Pattern> inputs) {
  return Pattern({{name}, std::move(inputs), {}, {}, true});
}

Value* Matched::operator[](const Pattern& pattern) const {
  auto found = values.find(pattern.Key());
  return found == values.end() ? nullptr : found->second;
}

std::optional<Matched> Match(const Pattern& pattern, Value* value) {
  Search search(pattern, value);
  if (!search.Run()) return std::nullopt;
  return search.Take();
}

int RewriteMatches(Graph& graph, const std::function<std::optional<Matched>(Node&)>& rewrite) {
  int rewrites = 0;
  std::unordered_set<Node*> replaced;
  const std::vector<Node*> nodes = NodesOf(graph);
  for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
    if (replaced.contains(*node) || !(*node)->Output(0) || (*node)->Output(0)->IsUnused()) continue;
    if (const auto match = rewrite(**node)) {
      replaced.insert(match->nodes.begin(), match->nodes.end());
      ++rewrites;
    }
  }
  return rewrites;
}

}  // namespace ziggurat
