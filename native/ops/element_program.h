// The program of a zig.Elementwise: what happens to each element, one instruction a string.
//
//   "Mul x0 x1"   "LeakyRelu t0 alpha=0.1"   "Clip t1 _ x2"
//
// An instruction is an op of the standard, its operands (x0, x1: inputs; t0, t1: results of earlier instructions; _: an
// absent one) and its attributes. All results have one shape, to which inputs broadcast; bounds of Clip are scalars.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ops/op_def.h"

namespace ziggurat {

struct ElementInstruction {
  const OpDef* op = nullptr;
  std::vector<int> operands;  // i: input i; inputs + k: the result of instruction k; -1: absent
  Attributes attributes;
};

struct ElementProgram {
  int inputs = 0;
  std::vector<ElementInstruction> instructions;
  std::vector<int> results;  // of each output: the instruction whose result it is
};

// Longer ones would gain nothing more, and be read again with every inference.
inline constexpr size_t kMaxProgram = 256;

// The node's program, checked: known ops, operands that exist, attributes of the right kind. Throws kInvalidModel.
ElementProgram ReadElementProgram(const Node& node);
std::string PrintInstruction(const ElementInstruction& instruction, int inputs);

// The element type of the result where the op is one of programs and takes operands of these types (kUndefined:
// absent); nullopt where not.
std::optional<DType> ElementResult(const OpDef& op, std::span<const DType> operands, const Attributes& attributes);
// The operands that are scalars beside the elements: bounds of Clip.
inline bool IsElementBound(const OpDef& op, size_t operand) { return operand > 0 && op.Is("Clip"); }
// The result has operand 0's shape, whatever the others' are.
bool KeepsFirstShape(const OpDef& op);

}  // namespace ziggurat
