// Writes an op's meaning: builds simpler nodes before the node being expanded.
//
//   .expand = [](Expander& e) {               // RMSNormalization over the last axis
//     Value* x = e.In(0);
//     Value* mean = e.Op("ReduceMean", {e.Op("Mul", {x, x}), e.Ints({-1})});
//     e.Return(0, e.Op("Mul", {e.Op("Mul", {x, e.Op("Reciprocal", {e.Op("Sqrt", {mean})})}), e.In(1)}));
//   }
#pragma once

#include <vector>

#include "ops/op_def.h"

namespace ziggurat {

class Expander {
 public:
  explicit Expander(Node& node) : node_(node) {}

  const Node& node() const { return node_; }
  bool HasIn(int i) const { return node_.Input(i) != nullptr; }
  Value* In(int i) const { return node_.Input(i); }
  Value* Op(std::string_view name, std::vector<Value*> inputs, Attributes attributes = {});
  // A node with several outputs.
  std::vector<Value*> Ops(std::string_view name, std::vector<Value*> inputs, Attributes attributes, int outputs);
  Value* Scalar(DType dtype, double value);      // rank 0, of that type
  Value* ScalarLike(Value* like, double value);  // rank 0, of like's type
  Value* Ints(std::vector<int64_t> values);      // int64, rank 1
  void Return(int output, Value* value);

  // Replaces `node` by its expansion and erases it. The op must have one.
  static void Expand(Node& node);

 private:
  Node& node_;
};

}  // namespace ziggurat
