// A piece of a graph that works element by element, in one op: its program is the nodes that it stands for.
#include "ops/element_program.h"
#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

// Types of inputs and of the results so far.
using Types = std::vector<Type>;

Type InferInstruction(const InferContext& c, const ElementInstruction& instruction, const Types& types) {
  std::vector<DType> dtypes;
  for (int operand : instruction.operands)
    dtypes.push_back(operand < 0 ? DType::kUndefined : types[static_cast<size_t>(operand)].dtype);
  const auto dtype = ElementResult(*instruction.op, dtypes, instruction.attributes);
  if (!dtype) c.Fail(instruction.op->name, " in a program does not take operands of such types");
  std::vector<Dim> shape;
  for (size_t i = 0; i < instruction.operands.size(); ++i) {
    if (i > 0 && KeepsFirstShape(*instruction.op)) break;
    const Type& type = types[static_cast<size_t>(instruction.operands[i])];
    if (!type.HasRank()) return Type::Tensor(*dtype, std::nullopt);
    shape = c.BroadcastShapes(shape, *type.shape);
  }
  return Type::Tensor(*dtype, std::move(shape));
}

// All results have the shape of the first, numbers preferred to symbols.
void Join(const InferContext& c, const Type& result, std::optional<std::vector<Dim>>& shape) {
  if (!result.HasRank()) return;
  if (!shape) shape = *result.shape;
  if (shape->size() != result.shape->size())
    c.Fail("results have shapes ", ToString(c, *shape), " and ", ToString(c, *result.shape), ", must be equal");
  for (size_t i = 0; i < shape->size(); ++i)
    (*shape)[i] = c.Same((*shape)[i], (*result.shape)[i], Cat("dimensions ", i, " of results"));
}

void InferElementwise(InferContext& c) {
  const ElementProgram program = ReadElementProgram(c.node());
  Types types;
  for (int i = 0; i < program.inputs; ++i) {
    if (!c.HasInput(i)) c.Fail("input ", i, " of a program is absent");
    types.push_back(c.InputType(i));
  }
  std::optional<std::vector<Dim>> shape;
  for (const ElementInstruction& instruction : program.instructions) {
    types.push_back(InferInstruction(c, instruction, types));
    Join(c, types.back(), shape);
  }
  for (size_t o = 0; o < program.results.size(); ++o) {
    const Type& result = types[static_cast<size_t>(program.inputs + program.results[o])];
    c.SetOutput(static_cast<int>(o), Type::Tensor(result.dtype, shape));
  }
}

void ExpandElementwise(Expander& e) {
  const ElementProgram program = ReadElementProgram(e.node());
  std::vector<Value*> values = e.node().inputs;
  for (const ElementInstruction& instruction : program.instructions) {
    std::vector<Value*> operands;
    for (int operand : instruction.operands)
      operands.push_back(operand < 0 ? nullptr : values[static_cast<size_t>(operand)]);
    values.push_back(e.Op(instruction.op->name, std::move(operands), instruction.attributes));
  }
  for (size_t o = 0; o < program.results.size(); ++o)
    e.Return(static_cast<int>(o), values[static_cast<size_t>(program.inputs + program.results[o])]);
}

}  // namespace

constexpr OpDef kOp_ZigElementwise = {
    .name = "Elementwise",
    .domain = "zig",
    .inputs = {{"inputs", kNumbers | kBools, 0, Param::kMany}},
    .max_outputs = -1,
    .attributes = {attr::Required(attr::Strings("program")), attr::Ints("results")},
    .infer = InferElementwise,
    .expand = ExpandElementwise,
    .flags = kElementwise,
};

}  // namespace ziggurat
