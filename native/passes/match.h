// Patterns: small trees of ops that a pass looks for.
//
//   const Pattern x = Any();
//   const Pattern erf = Op("Erf", {Op("Div", {x, Scalar(1.41421356, 1e-6)})});
//   if (auto match = Match(Op("Mul", {x, Op("Add", {erf, Scalar(1)})}), value)) ... (*match)[x] ...
//
// Inputs of commutative ops match in either order. A pattern that occurs twice must match the same value. Nodes
// below the root may be used by matched nodes only, so that the rewrite leaves none of them behind.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ir/graph.h"

namespace ziggurat {

class Pattern {
 public:
  using Predicate = std::function<bool(const Value&)>;
  using NodePredicate = std::function<bool(const Node&)>;

  struct Tree {
    std::vector<std::string_view> ops;  // empty: a leaf
    std::vector<Pattern> inputs;
    Predicate test;           // of the value
    NodePredicate node_test;  // of its node
    bool optional = false;    // the op may be missing: then inputs[0] matches in its place
  };

  explicit Pattern(Tree tree) : tree_(std::make_shared<const Tree>(std::move(tree))) {}
  const Tree& operator*() const { return *tree_; }
  const Tree* operator->() const { return tree_.get(); }
  const void* Key() const { return tree_.get(); }

  // The same pattern with a condition on the node.
  Pattern If(NodePredicate test) const;

 private:
  std::shared_ptr<const Tree> tree_;
};

Pattern Any();
Pattern AnyIf(Pattern::Predicate test);
Pattern AnyConstant();
// A constant of one element within `relative` of `value`.
Pattern Scalar(double value, double relative = 0);
Pattern AnyScalar();
// A standard op of that name with at least these inputs; the node's further inputs must be absent.
Pattern Op(std::string_view name, std::vector<Pattern> inputs);
Pattern OneOf(std::vector<std::string_view> names, std::vector<Pattern> inputs);
// The op around its first input, or that input alone.
Pattern Maybe(std::string_view name, std::vector<Pattern> inputs);

class Matched {
 public:
  // The value a pattern matched; null for an optional op that is missing.
  Value* operator[](const Pattern& pattern) const;
  Node* NodeOf(const Pattern& pattern) const { return (*this)[pattern]->producer; }

  std::unordered_map<const void*, Value*> values;
  std::vector<Node*> nodes;  // the root's first
};

// Offers the nodes to `rewrite`, last first, so that the longest pattern that ends in a node is found before its parts;
// leaves out nodes that an earlier match has replaced. `rewrite` returns the match it has replaced, or nothing.
int RewriteMatches(Graph& graph, const std::function<std::optional<Matched>(Node&)>& rewrite);

// Whether `value` is an instance of the pattern; nodes other than the root's used only inside.
std::optional<Matched> Match(const Pattern& pattern, Value* value);

}  // namespace ziggurat
