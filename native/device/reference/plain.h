// Plain kernels: one readable scalar function an op. A table per family; plain.cc lists the families.
#pragma once

#include <span>
#include <string_view>

#include "device/device.h"
#include "device/reference/elements.h"

namespace ziggurat::plain {

// One launch, as a kernel function sees it.
struct Args {
  const Node& node;
  KernelContext& context;
  Kind kind;          // of input 0: tells an optional from a sequence
  Encoding encoding;  // of input 0
  uint64_t salt;      // of the node's first output's name: the seed of random ops without one

  int inputs() const { return static_cast<int>(context.inputs.size()); }
  int outputs() const { return static_cast<int>(context.outputs.size()); }
  bool Has(int i) const { return i < inputs() && context.inputs[i].dtype != DType::kUndefined; }
  bool HasOut(int i) const { return i < outputs() && context.outputs[i].dtype != DType::kUndefined; }
  const TensorView& In(int i) const;
  TensorView& Out(int i) const;
  // Output `i` with this shape: as given, or, for ops whose shape only running tells, allocated now.
  TensorView& Shaped(int i, const Shape& shape) const;
  // The sequence or optional of input `i`; null where the input is absent or a tensor.
  const SequenceValue* Sequence(int i) const;
  void SetSequence(int i, std::shared_ptr<SequenceValue> value) const;

  int64_t Int(std::string_view name, int64_t fallback = 0) const { return node.Int(name, fallback); }
  float Float(std::string_view name, float fallback = 0) const { return node.Float(name, fallback); }
  std::string String(std::string_view name, std::string_view fallback = "") const {
    return node.String(name, fallback);
  }
  // An attribute of one number an axis; `fallback` for each where it is absent.
  std::vector<int64_t> Ints(std::string_view name, size_t count, int64_t fallback) const;
  // The elements of an integer input; empty where the input is absent.
  std::vector<int64_t> IntsIn(int i) const;
  // A scalar integer or float input, or `fallback` where it is absent.
  int64_t IntIn(int i, int64_t fallback) const { return Has(i) ? LoadOne<int64_t>(In(i)) : fallback; }
  double RealIn(int i, double fallback) const { return Has(i) ? LoadOne<double>(In(i)) : fallback; }
};

// Resolves a possibly negative axis; throws kInvalidArgument naming both.
int Axis(int64_t axis, int rank);
// Resolves a possibly negative index; throws kInvalidArgument naming index and limit.
inline int64_t Index(int64_t index, int64_t limit) {
  const int64_t resolved = index < 0 ? index + limit : index;
  if (resolved < 0 || resolved >= limit)
    throw Error(Code::kInvalidArgument, "index ", index, " is out of range for a size of ", limit);
  return resolved;
}

struct PlainOp {
  std::string_view name;
  void (*run)(const Args& args);
};

std::span<const PlainOp> ElementwiseOps();
std::span<const PlainOp> UnaryOps();
std::span<const PlainOp> CastOps();
std::span<const PlainOp> ReduceOps();
std::span<const PlainOp> ScanOps();
std::span<const PlainOp> MoveOps();
std::span<const PlainOp> ShapeOps();
std::span<const PlainOp> GatherOps();
std::span<const PlainOp> MatrixOps();
std::span<const PlainOp> EinsumOps();
std::span<const PlainOp> ConvOps();
std::span<const PlainOp> PoolOps();
std::span<const PlainOp> NormOps();
std::span<const PlainOp> QuantizeOps();
std::span<const PlainOp> ResizeOps();
std::span<const PlainOp> SortOps();
std::span<const PlainOp> RandomOps();
std::span<const PlainOp> SignalOps();
std::span<const PlainOp> RnnOps();
std::span<const PlainOp> VisionOps();
std::span<const PlainOp> TextOps();
std::span<const PlainOp> SequenceOps();
std::span<const PlainOp> LanguageOps();  // of domain "zig"

}  // namespace ziggurat::plain
