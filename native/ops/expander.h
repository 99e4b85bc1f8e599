// Writes an op's meaning: builds simpler nodes before the node being expanded.
//
//   .expand = [](Expander& e) {               // RMSNormalization over the last axis
//     Value* x = e.Wide(e.In(0));
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
  bool HasOut(int i) const { return node_.Output(i) != nullptr; }
  Value* In(int i) const { return node_.Input(i); }
  Value* Op(std::string_view name, std::vector<Value*> inputs, Attributes attributes = {});
  // A node with several outputs.
  std::vector<Value*> Ops(std::string_view name, std::vector<Value*> inputs, Attributes attributes, int outputs);
  Value* Scalar(DType dtype, double value);      // rank 0, of that type
  Value* ScalarLike(Value* like, double value);  // rank 0, of like's type
  Value* Ints(std::vector<int64_t> values);      // int64, rank 1
  Value* Int(int64_t value);                     // int64, rank 0
  Value* Constant(std::shared_ptr<ziggurat::Constant> constant);

  Value* Cast(Value* value, DType dtype);  // the value itself where it has that type
  // 16-bit floats as float32, others as they are: an op computes wide inside and rounds once, when it returns.
  Value* Wide(Value* value);
  // [N, spatial..., C] as [N, C, spatial...], and the way back: a Transpose.
  Value* ChannelsFirst(Value* value);
  Value* ChannelsLast(Value* value);
  Value* Reshape(Value* value, std::vector<int64_t> shape);
  // Shape dimensions [start, end) of a value as an int64 vector.
  Value* ShapeOf(Value* value, int64_t start, int64_t end);
  Value* ShapeOf(Value* value);
  Value* Join(std::vector<Value*> vectors);  // Concat of vectors

  // Output `output` is `value`, cast to the type the output has.
  void Return(int output, Value* value);
  // Throws kUnsupported: this node's form has no expansion (unknown rank, for one) and needs a kernel.
  template <typename... Parts>
  [[noreturn]] void Fail(const Parts&... parts) const {
    throw Error(Code::kUnsupported, parts...).AtNode(node_.op->name, node_.name);
  }
  // Rank of a value; fails where it is not known.
  int Rank(const Value* value) const;

  // Replaces `node` by its expansion and erases it. The op must have one.
  static void Expand(Node& node);

 private:
  Node& node_;
  bool retyped_ = false;  // an output's replacement has another type
};

}  // namespace ziggurat
