// Drops the first of two casts where it loses nothing.
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

// Significant bits and exponent range of a real type, or of an integer with its sign.
struct Range {
  int digits = 0;
  int exponent = 0;  // the largest power of two; floats reach as far down, subnormals included, as listed in order
  bool is_signed = true;
  bool is_float = false;
};

Range RangeOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return {53, 1024, true, true};
    case DType::kFloat32:
      return {24, 128, true, true};
    case DType::kFloat16:
      return {11, 16, true, true};
    case DType::kBFloat16:
      return {8, 128, true, true};
    case DType::kInt64:
      return {63, 63};
    case DType::kInt32:
      return {31, 31};
    case DType::kInt16:
      return {15, 15};
    case DType::kInt8:
      return {7, 7};
    case DType::kUint32:
      return {32, 32, false};
    case DType::kUint16:
      return {16, 16, false};
    case DType::kUint8:
      return {8, 8, false};
    default:
      return {};
  }
}

// Every value of `from` is a value of `to`. From bfloat16 to float32 the exponents' ranges agree, subnormals too.
bool Holds(DType to, DType from) {
  const Range wide = RangeOf(to), narrow = RangeOf(from);
  if (!wide.digits || !narrow.digits || (narrow.is_float && !wide.is_float)) return false;
  if (narrow.is_signed && !wide.is_signed) return false;
  return wide.digits >= narrow.digits && wide.exponent >= narrow.exponent;
}

int Run(Graph& graph, PassContext&) {
  int rewrites = 0;
  for (Node* node : NodesOf(graph)) {
    if (!node->op->Is("Cast") || !node->Input(0)->producer || !node->Input(0)->producer->op->Is("Cast")) continue;
    Node* first = node->Input(0)->producer;
    Value* source = first->Input(0);
    const DType from = source->type.dtype, middle = node->Input(0)->type.dtype, to = node->Output(0)->type.dtype;
    if (node->Output(0)->IsUnused() || !Holds(middle, from)) continue;
    if (to == from) {
      rewrites += Replace(node->Output(0), source);
      continue;
    }
    if (!Holds(to, from) && !(RangeOf(from).is_float && RangeOf(to).is_float)) continue;
    rewrites += Replace(node->Output(0), Insert(node, "Cast", {source}, node->attributes));
  }
  return rewrites;
}

}  // namespace

const Pass kMergeCasts = {
    .name = "merge_casts",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "the type in the middle holds every value of the first, so only the second cast can round",
    .run = Run,
};

}  // namespace ziggurat
