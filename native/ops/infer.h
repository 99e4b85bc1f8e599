// What an op's infer function sees and says.
#pragma once

#include <span>
#include <vector>

#include "base/error.h"
#include "ops/op_def.h"
#include "tensor/view.h"

namespace ziggurat {

// At load: types with symbolic dimensions, contents where known. At run time ("concrete"): constant dimensions, and
// every shape input's elements. An infer function need not care which.
class InferContext {
 public:
  // At load: reads the node's values.
  explicit InferContext(const Node& node);
  // At run time: `views[i]` is input i (data null for absent ones and for inputs whose values are not on the host).
  InferContext(const Node& node, std::span<const TensorView> views);

  const Node& node() const { return node_; }
  int num_inputs() const { return static_cast<int>(node_.inputs.size()); }
  int num_outputs() const { return static_cast<int>(node_.outputs.size()); }
  bool HasInput(int i) const { return node_.Input(i) != nullptr; }
  bool HasOutput(int i) const { return node_.Output(i) != nullptr; }

  const Type& InputType(int i) const;
  DType InputDType(int i) const { return InputType(i).dtype; }
  bool HasRank(int i) const { return HasInput(i) && InputType(i).HasRank(); }
  const std::vector<Dim>& InputShape(int i) const { return *InputType(i).shape; }  // HasRank(i) only

  // The elements of an integer input as expressions, where known.
  std::optional<std::vector<Dim>> Contents(int i) const;
  // The elements as numbers, where all are known.
  std::optional<std::vector<int64_t>> Ints(int i) const;
  std::optional<std::vector<float>> Floats(int i) const;
  // The whole tensor, where its value is known.
  std::optional<TensorView> Known(int i) const;

  void SetOutput(int i, Type type);
  void SetOutput(int i, DType dtype, std::vector<Dim> shape) { SetOutput(i, Type::Tensor(dtype, std::move(shape))); }
  void SetUnranked(int i, DType dtype) { SetOutput(i, Type::Tensor(dtype, std::nullopt)); }
  // The output's elements as expressions (integer tensors of at most kMaxContents elements; ignored above).
  void SetContents(int i, std::vector<Dim> contents);
  // Output i has input `from`'s type, respectively its element type and shape.
  void CopyType(int from, int i = 0) { SetOutput(i, InputType(from)); }
  // A dimension that only running can tell; the same one when the node is inferred again. At run time it marks an
  // output whose shape the kernel sets.
  Dim NewSymbol(std::string_view hint);
  std::vector<Dim> NewSymbols(std::string_view hint, int count);
  // True at run time, when nothing may be unknown but what kernels set.
  bool concrete() const { return concrete_; }

  // Throws kInvalidModel (at load) or kInvalidArgument (at run time); the caller adds the node's name.
  template <typename... Parts>
  [[noreturn]] void Fail(const Parts&... parts) const {
    throw Error(concrete_ ? Code::kInvalidArgument : Code::kInvalidModel, parts...);
  }

  // Resolves a possibly negative axis; fails naming axis and rank.
  int Axis(int64_t axis, int rank) const;
  std::vector<int> Axes(const std::vector<int64_t>& axes, int rank) const;  // each once; fails on a repeated one
  // Fails unless input i's rank is unknown or lies in [least, most].
  void ExpectRank(int i, int least, int most) const;
  void ExpectRank(int i, int rank) const { ExpectRank(i, rank, rank); }
  // The one dimension two inputs share: fails where both are numbers and differ, prefers the number.
  Dim Same(const Dim& a, const Dim& b, std::string_view what) const;
  std::vector<Dim> BroadcastShapes(const std::vector<Dim>& a, const std::vector<Dim>& b) const;

  std::vector<Type> output_types;                                // what SetOutput stored
  std::vector<std::optional<std::vector<Dim>>> output_contents;  // what SetContents stored
  bool kernel_sets_shape = false;                                // NewSymbol was called at run time

  static constexpr size_t kMaxContents = 64;

 private:
  const Node& node_;
  bool concrete_;
  std::span<const TensorView> views_;
  std::vector<Type> concrete_types_;
  int symbols_made_ = 0;
};

// "[batch,3,224]" with the graph's names of symbols, for messages.
std::string ToString(const InferContext& c, const std::vector<Dim>& shape);
// The product of dimensions [first, last).
Dim Product(const std::vector<Dim>& shape, size_t first, size_t last);
inline Dim Product(const std::vector<Dim>& shape) { return Product(shape, 0, shape.size()); }

}  // namespace ziggurat
