// A MatMul or Gemm between DequantizeLinear nodes, and the bias and QuantizeLinear after it, become
// zig.QuantizedMatMul, which multiplies the 8-bit numbers themselves.
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

constexpr int kNoColumns = -1;

// A constant scale for all, or of a matrix a constant vector along `columns`; zero point alike.
std::optional<Quantization> ReadQuantization(const Node& node, const Value* tensor, int columns) {
  Value *scale = node.Input(1), *zero = node.Input(2);
  if (!scale->IsConstant() || scale->type.dtype != DType::kFloat32 || (zero && !zero->IsConstant())) return {};
  if (node.Int("block_size") != 0 || !tensor->type.HasRank()) return {};
  const Shape shape = scale->constant->shape();
  if (zero && zero->constant->shape().Count() != shape.Count()) return {};
  if (shape.Count() == 1) return Quantization{scale, zero};
  const int rank = tensor->type.Rank();
  const int64_t axis = node.Int("axis", 1);
  if (rank != 2 || (axis < 0 ? axis + rank : axis) != columns || shape.rank() != 1) return {};
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

// What a constant becomes in its DequantizeLinear, as a bias of 32-bit integers does; else the value itself.
Value* Dequantized(Graph& graph, Value* value, const PassContext& context) {
  const Node* node = value->producer;
  if (!node || !node->op->Is("DequantizeLinear") || !context.evaluate) return value;
  std::vector<std::shared_ptr<Constant>> inputs;
  for (const Value* input : node->inputs) {
    if (input && !input->IsConstant()) return value;
    inputs.push_back(input ? input->constant : nullptr);
  }
  return graph.AddConstant(context.evaluate(*node, inputs)[0]);
}

// What happens to the product afterwards; `last` is the last node of it.
struct Finish {
  std::shared_ptr<Constant> bias;
  Quantization rounding;
  Node* last = nullptr;
};

// Gemm's C, or the constant that is added to each row of the product, as a vector. False: a C that is no such vector.
bool FollowBias(Graph& graph, const Node& node, Finish& finish, const PassContext& context) {
  const Value* value = node.Output(0);
  const auto along = [&](Value* other) {
    return AlongAxis(Dequantized(graph, other, context), *value->type.shape, value->type.Rank() - 1);
  };
  if (node.Input(2)) return (finish.bias = along(node.Input(2))) != nullptr;
  Node* add = OnlyUser(node, "Add");
  if (!add || !value->type.HasRank()) return true;
  Value* other = add->Input(0) == value ? add->Input(1) : add->Input(0);
  if (other == value || !SameType(value, add->Output(0))) return true;
  finish.bias = along(other);
  if (finish.bias) finish.last = add;
  return true;
}

// The zero point is the type's least number, so that rounding cuts off what is below zero.
bool CutsNegatives(const Quantization& rounding, DType dtype) {
  const int64_t least = dtype == DType::kInt8 ? -128 : 0;
  return rounding.zero ? ReadInts(rounding.zero) == std::vector<int64_t>{least} : least == 0;
}

// What rounds the result to 8 bits again, perhaps behind a Relu that this makes idle.
void FollowRounding(Finish& finish) {
  Node* relu = OnlyUser(*finish.last, "Relu");
  Node* node = OnlyUser(relu ? *relu : *finish.last, "QuantizeLinear");
  const Value* rounded = relu ? relu->Output(0) : finish.last->Output(0);
  if (!node || node->Input(0) != rounded || !IsByte(node->Output(0)) || node->Int("precision")) return;
  const DType dtype = node->Output(0)->type.dtype;
  const auto found = ReadQuantization(*node, node->Input(0), kNoColumns);
  if (!found || (!found->zero && dtype != DType::kUint8)) return;
  if (relu && !CutsNegatives(*found, dtype)) return;
  finish.last = node, finish.rounding = *found;
}

// A product of A with B, or with B's transpose, and nothing else inside.
bool IsPlainProduct(const Node& node) {
  if (node.op->Is("MatMul")) return true;
  const bool scaled = node.Float("alpha", 1) != 1 || (node.Input(2) && node.Float("beta", 1) != 1);
  return !scaled && node.Int("transA") == 0 && node.Output(0)->type.HasRank();
}

bool Fuse(Graph& graph, Node& node, const PassContext& context) {
  const OpDef& fused = GetOp("QuantizedMatMul", "zig");
  Node *a = Dequantizer(node.Input(0)), *b = Dequantizer(node.Input(1));
  if (!a || !b || a->Input(0)->IsConstant() || !b->Input(0)->IsConstant() || !IsPlainProduct(node)) return false;
  if (!context.Supports(fused, a->Input(0)->type.dtype)) return false;
  const bool turned = node.op->Is("Gemm") && node.Int("transB") != 0;
  const auto left = ReadQuantization(*a, a->Input(0), kNoColumns);
  const auto right = ReadQuantization(*b, b->Input(0), turned ? 0 : 1);
  if (!left || !right || a->Input(0)->type.Rank() < 2 || b->Input(0)->type.Rank() != 2) return false;
  Finish finish;
  finish.last = &node;
  if (!FollowBias(graph, node, finish, context)) return false;
  FollowRounding(finish);
  Value* weights = b->Input(0);
  if (turned) weights = Insert(&node, "Transpose", {weights}, {{"perm", std::vector<int64_t>{1, 0}}});
  std::vector<Value*> inputs = {a->Input(0), left->scale,           left->zero,           weights, right->scale,
                                right->zero, finish.rounding.scale, finish.rounding.zero, nullptr};
  if (finish.bias) inputs.back() = graph.AddConstant(finish.bias);
  Value* made = graph.AddNode(fused, std::move(inputs), {}, {""}, node.name, finish.last)->outputs[0];
  return Replace(finish.last->Output(0), made);
}

int Run(Graph& graph, PassContext& context) {
  int rewrites = 0;
  for (Node* node : NodesOf(graph))
    if ((node->op->Is("MatMul") || node->op->Is("Gemm")) && !node->Output(0)->IsUnused())
      rewrites += Fuse(graph, *node, context);
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
