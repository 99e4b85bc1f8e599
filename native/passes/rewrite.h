// What passes share: replacing values, sweeping dead nodes, reading and making constants.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "ir/graph.h"

namespace ziggurat {

// The graph and all graphs nested in it, each before the graph that owns it.
std::vector<Graph*> GraphsInnermostFirst(Graph& graph);

// The nodes as they are now, so that a pass may insert while it walks.
std::vector<Node*> NodesOf(const Graph& graph);

// True if the node, or one inside its subgraphs, changes a resource or draws random numbers.
bool WritesState(const Node& node);
bool IsRandom(const Node& node);

// Erases nodes without uses, except those that change state, and constants without uses.
int SweepDead(Graph& graph);

// Uses of `from` become uses of `to`, which takes over what only `from`'s type or contents knew. False, and nothing
// changed, if the two types contradict each other.
bool Replace(Value* from, Value* to);

// Infers all types again, of nested graphs too, after something became known; forgets nothing that was known before.
void InferAgain(Graph& graph);

// Inserts a node with one output before `before`; its type is inferred.
Value* Insert(Node* before, std::string_view op, std::vector<Value*> inputs, Attributes attributes = {});
Value* InsertZig(Node* before, std::string_view op, std::vector<Value*> inputs, Attributes attributes = {});

// Reshapes to exactly `shape` before `before`; null where the words of Reshape's target, numbers, 0 for a dimension
// that stays in place and -1 for at most one other, cannot say it.
Value* ViewAs(Node& before, Value* value, const std::vector<Dim>& shape);

// ---- constants ----
bool IsRealType(DType dtype);  // float32, float64, float16, bfloat16
// All elements as float64; nullopt for a null or non-constant value or another element type.
std::optional<std::vector<double>> ReadReals(const Value* value);
// The value of a constant whose elements are all equal (at least one), of rank 0 or any rank.
std::optional<double> UniformReal(const Value* value);
// True if the value is a constant of one element that lies within `relative` of `expected`.
bool IsScalar(const Value* value, double expected, double relative = 0);
std::optional<std::vector<int64_t>> ReadInts(const Value* value);
// Rounds to nearest even.
std::shared_ptr<Constant> MakeReals(DType dtype, const Shape& shape, const std::vector<double>& values);

// ---- types ----
bool SameShape(const Value* a, const Value* b);  // both known and equal as expressions
bool SameType(const Value* a, const Value* b);   // kind, dtype, encoding and known, equal shapes
// True if the node of the value's graph makes it, of known rank, from the same elements in the same order.
bool IsViewOf(const Node* node, const Value* value);
// The value is used once, by a node of its own graph, and is no output.
bool UsedOnce(const Value* value);

}  // namespace ziggurat
