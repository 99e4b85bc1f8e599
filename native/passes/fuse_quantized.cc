// A MatMul between DequantizeLinear nodes, and the bias and QuantizeLinear after it, become zig.QuantizedMatMul, which
// multiplies the 8-bit numbers themselves.
#include "passes/epilogue.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

bool IsByte(const Value* value) { return value->type.dtype == DType::kInt8 || value->type.dtype == DType::kUint8; }

// The scale and zero point of one quantised tensor.
struct Quantization {
  Value *scale = nullptr, *zero = nullptr;
};

// A constant scale for all, or (per column, of a matrix) a constant vector along the last axis; zero point alike.
std::optional<Quantization> ReadQuantization(const Node& node, const Value* tensor, bool per_column) {
  Value *scale = node.Input(1), *zero = node.Input(2);
  if (!scale->IsConstant() || scale->type.dtype != DType::kFloat32 || (zero && !zero->IsConstant())) return {};
  if (node.Int("block_size") != 0 || !tensor->type.HasRank()) return {};
  const Shape shape = scale->constant->shape();
  if (zero && zero->constant->shape().Count() != shape.Count()) return {};
  if (shape.Count() == 1) return Quantization{scale, zero};
  const int rank = tensor->type.Rank();
  const int64_t axis = node.Int("axis", 1), columns = axis < 0 ? axis + rank : axis;
  if (!per_column || rank != 2 || columns != 1 || shape.rank() != 1) return {};
  return Quantization{scale, zero};
}

// The DequantizeLinear of 8-bit numbers to float32 that makes the value, or null.
Node* Dequantizer(const Value* value) {
  Node* node = value->producer;
  if (!node || node->graph != value->graph || !node->op->Is("DequantizeLinear") || !IsByte(node->Input(0)))
    return nullptr;
  return value->type.dtype == DType::kFloat32 ? node : nullptr;
}

// The node's only user, if it is a standard op of that name that takes the node's output first.
Node* OnlyUser(const Node& node, std::string_view op) {
  const Value* value = node.Output(0);
  if (!UsedOnce(value) || !value->users[0]->op->Is(op)) return nullptr;
  return value->users[0];
}

// The constant that is added to each row of the product, as a vector; `last` moves to the Add.
std::shared_ptr<Constant> FollowBias(Node*& last) {
  Node* add = OnlyUser(*last, "Add");
  if (!add || !last->Output(0)->type.HasRank()) return nullptr;
  const Value* value = last->Output(0);
  const Value* other = add->Input(0) == value ? add->Input(1) : add->Input(0);
  if (other == value || !SameType(value, add->Output(0))) return nullptr;
  auto bias = AlongAxis(other, *value->type.shape, value->type.Rank() - 1);
  if (bias) last = add;
  return bias;
}

// What rounds the result to 8 bits again; `last` moves there.
Quantization FollowRounding(Node*& last) {
  Node* node = OnlyUser(*last, "QuantizeLinear");
  if (!node || node->Input(0) != last->Output(0) || !IsByte(node->Output(0)) || node->Int("precision")) return {};
  const auto found = ReadQuantization(*node, node->Input(0), false);
  if (!found || (!found->zero && node->Output(0)->type.dtype != DType::kUint8)) return {};
  last = node;
  return *found;
}

bool Fuse(Graph& graph, Node& node, const PassContext& context) {
  const OpDef& fused = GetOp("QuantizedMatMul", "zig");
  Node *a = Dequantizer(node.Input(0)), *b = Dequantizer(node.Input(1));
  if (!a || !b || a->Input(0)->IsConstant() || !b->Input(0)->IsConstant()) return false;
  if (!context.Supports(fused, a->Input(0)->type.dtype)) return false;
  const auto left = ReadQuantization(*a, a->Input(0), false), right = ReadQuantization(*b, b->Input(0), true);
  if (!left || !right || a->Input(0)->type.Rank() < 2 || b->Input(0)->type.Rank() != 2) return false;
  Node* last = &node;
  const auto bias = FollowBias(last);
  const Quantization y = FollowRounding(last);
  std::vector<Value*> inputs = {a->Input(0), left->scale, left->zero, b->Input(0), right->scale,
                                right->zero, y.scale,     y.zero,     nullptr};
  if (bias) inputs.back() = graph.AddConstant(bias);
  Value* made = graph.AddNode(fused, std::move(inputs), {}, {""}, node.name, last)->outputs[0];
  return Replace(last->Output(0), made);
}

int Run(Graph& graph, PassContext& context) {
  int rewrites = 0;
  for (Node* node : NodesOf(graph))
    if (node->op->Is("MatMul") && !node->Output(0)->IsUnused()) rewrites += Fuse(graph, *node, context);
  return rewrites;
}

}  // namespace

const Pass kFuseQuantized = {
    .name = "fuse_quantized",
    .exactness = Exactness::kApproximate,
    .bound =
        "2^-17 * sum |a b|: the sum of products is exact and rounded once, where the nodes round each product and sum; "
        "a rounded result moves by a step where that crosses the middle of two",
    .proof = "scales are factors of the sum; zero points are subtracted exactly",
    .run = Run,
};

}  // namespace ziggurat
