// What is true of an op on every device: its signature, how types follow from types, and what it means.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "ir/graph.h"

namespace ziggurat {

class InferContext;
class Expander;

struct AttributeSpec {
  const char* name;
  AttributeKind kind;
  bool required = false;
  std::optional<Attribute> fallback = std::nullopt;  // the default, where there is one
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
  int min_inputs = 1;
  int max_inputs = 1;  // -1: any number
  int min_outputs = 1;
  int max_outputs = 1;  // -1: any number
  std::vector<AttributeSpec> attributes = {};
  // Sets the outputs' types from the inputs' types and known contents; throws Error for what can never be valid.
  // Also runs with concrete shapes and values while a model runs, for steps whose shapes could not be known before.
  void (*infer)(InferContext&) = nullptr;
  // The op's meaning in simpler ops; null for a primitive, which the reference device has a kernel for.
  void (*expand)(Expander&) = nullptr;
  uint32_t flags = kNoFlags;
  // Inputs whose values (not only shapes) decide the outputs' shapes: read on the host.
  std::vector<int> shape_inputs = {};
  std::vector<Effect> effects = {};

  bool Is(OpFlags flag) const { return (flags & flag) != 0; }
  bool Is(std::string_view op_name) const { return domain.empty() && name == op_name; }
};

// The op, or null. `domain` "ai.onnx" is the same as "".
const OpDef* FindOp(std::string_view domain, std::string_view name);
// The op; throws kInternal if there is none. For passes and expansions.
const OpDef& GetOp(std::string_view name, std::string_view domain = "");
std::vector<const OpDef*> AllOps();

// Checks inputs' count, outputs' count, attributes' names and kinds of a node against its op. Throws kInvalidModel.
void CheckSignature(const Node& node);
// Runs op.infer on the node and stores the outputs' types and contents. Throws with the node named.
void InferTypes(Node& node);

}  // namespace ziggurat
