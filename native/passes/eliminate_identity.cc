// Removes nodes whose output is one of their inputs, bit for bit.
#include <algorithm>
#include <cmath>

#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

bool AllEqual(const std::optional<std::vector<int64_t>>& values, int64_t expected) {
  return values && std::all_of(values->begin(), values->end(), [&](int64_t value) { return value == expected; });
}

bool IsPermutationIdentity(const Node& node) {
  const Value* input = node.Input(0);
  const std::vector<int64_t> perm = node.Ints("perm");
  if (perm.empty()) return input->type.HasRank() && input->type.Rank() <= 1;  // the default reverses the axes
  for (size_t i = 0; i < perm.size(); ++i)
    if (perm[i] != static_cast<int64_t>(i)) return false;
  return true;
}

// Equal extents with steps of one leave nothing to cut.
bool IsWholeSlice(const Node& node) {
  const Value* steps = node.Input(4);
  return SameShape(node.Input(0), node.Output(0)) && (!steps || AllEqual(ReadInts(steps), 1));
}

// x - 0, x * 1 and x / 1 are x for every x, -0 included; x + 0 turns -0 into +0 and counts only for integers.
bool IsNeutral(const Node& node, const Value* operand) {
  const DType dtype = node.Output(0)->type.dtype;
  const bool zero_is_neutral = node.op->Is("Sub") || (node.op->Is("Add") && IsInteger(dtype));
  const bool one_is_neutral = node.op->Is("Mul") || node.op->Is("Div");
  if (!zero_is_neutral && !one_is_neutral) return false;
  if (!operand->IsConstant() || operand->constant->shape().Count() > 4096) return false;
  if (IsInteger(dtype)) return AllEqual(ReadInts(operand), zero_is_neutral ? 0 : 1);
  const auto value = UniformReal(operand);
  // The bits of -0 differ from those of 0: x - -0 is not x for x = -0.
  return value && (zero_is_neutral ? *value == 0 && !std::signbit(*value) : *value == 1);
}

// The input that the node hands on, or null.
Value* HandedOn(const Node& node) {
  Value *input = node.Input(0), *output = node.Output(0);
  if (!input || !output) return nullptr;
  const OpDef& op = *node.op;
  if (op.Is("Identity")) return input;
  if (op.Is("Dropout")) {
    const Value* training = node.Input(2);
    const bool off = !training || (training->IsConstant() && training->constant->ToInt64s() == std::vector<int64_t>{0});
    return off && (!node.Output(1) || node.Output(1)->IsUnused()) ? input : nullptr;
  }
  const bool one_operand = node.inputs.size() == 1;
  if (one_operand && (op.Is("Concat") || op.Is("Sum") || op.Is("Mean") || op.Is("Max") || op.Is("Min"))) return input;
  if (op.Is("Transpose")) return IsPermutationIdentity(node) ? input : nullptr;
  if (op.Is("Cast") || op.Is("CastLike"))
    return input->type.IsTensor() && input->type.dtype == output->type.dtype ? input : nullptr;
  if (op.Is("Slice")) return IsWholeSlice(node) ? input : nullptr;
  if (op.Is("Pad")) return AllEqual(ReadInts(node.Input(1)), 0) ? input : nullptr;
  if (op.Is("Expand") || op.Is("Tile") || op.Is(kView)) return SameType(input, output) ? input : nullptr;
  for (size_t i = 0; i < 2 && node.inputs.size() == 2; ++i) {
    if (i == 1 && !op.Is(kCommutative)) break;
    Value *kept = node.inputs[i], *other = node.inputs[1 - i];
    if (kept && other && SameType(kept, output) && IsNeutral(node, other)) return kept;
  }
  return nullptr;
}

int Run(Graph& graph, PassContext&) {
  int rewrites = 0;
  for (Node* node : NodesOf(graph)) {
    Value* kept = HandedOn(*node);
    if (!kept || node->Output(0)->IsUnused() || kept->type.kind == Kind::kResource) continue;
    rewrites += Replace(node->Output(0), kept);
  }
  return rewrites;
}

}  // namespace

const Pass kEliminateIdentity = {
    .name = "eliminate_identity",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "the output has the input's type, shape and bits",
    .run = Run,
};

}  // namespace ziggurat
