// What exporters write between the product of queries and keys and its softmax: scales, biases, masks and views.
//
//   ScorePath path(graph);
//   if (path.Follow(softmax.Input(0))) ... path.product(), path.scale() ...; bias = path.Bias(where, heads);
//
// The scores come out as scale * product + bias.
#pragma once

#include <vector>

#include "ir/graph.h"

namespace ziggurat {

// The node that makes the value, if it is a standard op of that name in the same graph.
Node* Maker(const Value* value, const Graph& graph, std::string_view op);

// [batch, heads, rows, columns], or null.
const std::vector<Dim>* ShapeOf4(const Value* value);

// The input of a Reshape between [batch * heads, rows, columns] and [batch, heads, rows, columns]; null for other
// values.
Value* BehindHeadsView(const Value* value, const Graph& graph);

// The value of rank 3 as [batch, heads, rows, columns], or the one of rank 4 as [batch * heads, rows, columns].
Value* ViewHeads(Value* value, int64_t heads, Node& before);
Value* JoinHeads(Value* value, Node& before);

class ScorePath {
 public:
  explicit ScorePath(Graph& graph) : graph_(graph) {}

  // Walks down from the softmax's input to a MatMul. False where something else is met, or a node that others read.
  bool Follow(Value* scores);

  Node* product() const { return product_; }
  // The scores' shape [batch, heads, queries, keys] where some of them have it; null where all are of rank 3.
  const std::vector<Dim>* shape() const { return shape_; }
  double scale() const { return scale_; }  // of the product

  // Inserts what adds up to the bias, before `before`; null where nothing is added. `heads`: 0 where the scores are of
  // rank 3 all along; a bias of rank 3 then gets a dimension of one head.
  Value* Bias(Node& before, int64_t heads);

 private:
  struct Step {
    enum Kind { kScale, kAdd, kMask } kind;
    double factor = 1;         // kScale
    Value* operand = nullptr;  // kAdd: what is added; kMask: the condition
    bool joined = false;       // kAdd, kMask: the scores there are [batch * heads, queries, keys]
    Node* where = nullptr;     // kMask
    int scores_input = 0;      // kMask: which of the node's inputs are the scores
  };

  bool Descend(Value* scores);
  bool DescendMask(Node& where);
  bool Fits(const Value* operand, const Value* scores) const;
  Value* OfFourDims(const Step& step, Node& before, int64_t heads);

  Graph& graph_;
  std::vector<Step> steps_;  // from the softmax down
  Node* product_ = nullptr;
  const std::vector<Dim>* shape_ = nullptr;
  double scale_ = 1;
};

// The constant factor of a Mul or Div and what is scaled: `value` itself and 1 where it is none.
struct Scaled {
  Value* value;
  double factor;
};
Scaled WithoutScale(Value* value, const Graph& graph);

}  // namespace ziggurat
