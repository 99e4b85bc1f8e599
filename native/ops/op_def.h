// What is true of an op on every device: its signature, how types follow from types, and what it means.
//
// Descriptors are constants built by the compiler: no initialisation order, nothing to lock, nothing to leak. The one
// list of them is op_list.inc.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "ops/dtype_set.h"

namespace ziggurat {

class InferContext;
class Expander;

// The default of an attribute. Lists have none: an absent list reads as empty.
struct AttributeDefault {
  bool present = false;
  int64_t integer = 0;
  float number = 0;
  const char* text = "";
};

struct AttributeSpec {
  const char* name;
  AttributeKind kind;
  bool required = false;
  AttributeDefault fallback = {};

  // The default as an attribute, or nullopt.
  std::optional<Attribute> Default() const;
};

// Short names for descriptors: attr::Int("group", 1), attr::Required(attr::Int("to")).
namespace attr {
constexpr AttributeSpec Int(const char* name) { return {name, AttributeKind::kInt}; }
constexpr AttributeSpec Int(const char* name, int64_t value) {
  return {name, AttributeKind::kInt, false, {true, value}};
}
constexpr AttributeSpec Float(const char* name) { return {name, AttributeKind::kFloat}; }
constexpr AttributeSpec Float(const char* name, float value) {
  return {name, AttributeKind::kFloat, false, {true, 0, value}};
}
constexpr AttributeSpec String(const char* name) { return {name, AttributeKind::kString}; }
constexpr AttributeSpec String(const char* name, const char* value) {
  return {name, AttributeKind::kString, false, {true, 0, 0, value}};
}
constexpr AttributeSpec Ints(const char* name) { return {name, AttributeKind::kInts}; }
constexpr AttributeSpec Floats(const char* name) { return {name, AttributeKind::kFloats}; }
constexpr AttributeSpec Strings(const char* name) { return {name, AttributeKind::kStrings}; }
constexpr AttributeSpec Tensor(const char* name) { return {name, AttributeKind::kTensor}; }
constexpr AttributeSpec Graph(const char* name) { return {name, AttributeKind::kGraph, true}; }
constexpr AttributeSpec Required(AttributeSpec spec) {
  spec.required = true;
  return spec;
}
}  // namespace attr

// A formal input, as the standard names it.
struct Param {
  enum Form : uint8_t { kOne, kOptional, kMany };  // kMany: the last parameter only, any number from `least` on
  enum Takes : uint8_t { kTensor, kSequence, kOptionalValue, kResource, kAnything };

  const char* name;
  DTypeSet types = kAnyType;  // element types of a tensor (or of a sequence's tensors)
  char group = 0;             // inputs with the same letter agree in element type; 0: with none
  Form form = kOne;
  Takes takes = kTensor;
  int least = 1;         // kMany: at least this many
  bool encoded = false;  // takes a block-encoded tensor as it is; others are given zig.Dequantize's output
};

enum OpFlags : uint32_t {
  kNoFlags = 0,
  kElementwise = 1,    // each output element depends on the (broadcast) inputs' elements of the same position
  kCommutative = 2,    // the first two inputs may be swapped
  kView = 4,           // output 0 has the bytes of input 0 in the same order
  kControlFlow = 8,    // owns subgraphs: If, Loop, Scan
  kRandom = 16,        // two calls may differ: never folded, never merged
  kKernelShaped = 32,  // an output's shape is known only when the kernel has run (NonZero)
};

// A use of a Resource: reads it, or writes it and gives its next version as an output. Order follows SSA versions.
struct Effect {
  int input;
  int output = -1;  // the next version, for a write; -1: only reads
};

struct OpDef {
  std::string_view name;
  std::string_view domain = "";  // "" is ai.onnx at opset 28; "zig" holds our own fused and stateful ops
  std::initializer_list<Param> inputs = {};
  int min_outputs = 1;
  int max_outputs = 1;  // -1: any number
  std::initializer_list<AttributeSpec> attributes = {};
  // Sets the outputs' types from the inputs' types and known contents; throws Error for what can never be valid.
  // Also runs with concrete shapes and values while a model runs, for steps whose shapes could not be known before.
  void (*infer)(InferContext&) = nullptr;
  // At load, after infer: the elements of small integer outputs as expressions, where they follow. May be null.
  void (*contents)(InferContext&) = nullptr;
  // The op's meaning in simpler ops; null for a primitive, which the reference device has a kernel for.
  void (*expand)(Expander&) = nullptr;
  uint32_t flags = kNoFlags;
  // Inputs whose values (not only shapes) decide the outputs' shapes: read on the host.
  std::initializer_list<int> shape_inputs = {};
  std::initializer_list<Effect> effects = {};

  bool Is(OpFlags flag) const { return (flags & flag) != 0; }
  bool Is(std::string_view op_name) const { return domain.empty() && name == op_name; }
  int MinInputs() const;
  int MaxInputs() const;  // -1: any number
  // The formal of input i; null if the op takes fewer.
  const Param* Formal(int i) const;
  const AttributeSpec* FindAttribute(std::string_view attribute) const;  // null if there is none
  bool IsShapeInput(int i) const;
};

// The op, or null. `domain` "ai.onnx" is the same as "".
const OpDef* FindOp(std::string_view domain, std::string_view name);
// The op; throws kInternal if there is none. For passes and expansions.
const OpDef& GetOp(std::string_view name, std::string_view domain = "");
std::vector<const OpDef*> AllOps();

// Checks inputs' count, outputs' count, attributes' names and kinds of a node against its op. Throws kInvalidModel.
void CheckSignature(const Node& node);
// Checks the inputs' kinds and element types, runs op.infer on the node and stores the outputs' types and contents.
// Throws with the node named.
void InferTypes(Node& node);

}  // namespace ziggurat
