// A Gemm of rows that a view has joined is a product of the rows as they were.
//
//   [b,s,k] -> Reshape -> [b*s,k] -> Gemm -> [b*s,n] -> Reshape -> [b,s,n]      is a product of [b,s,k] and a matrix
//
// So PyTorch writes addmm. The views cost nothing, but stand between the product and what could be its epilogue, and a
// row of the batch is no longer a range of one dimension where the sequence comes first.
#include "ops/op_def.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

constexpr int kMostViews = 4;  // in a row in front of a product

bool IsPlainGemm(const Node& node) {
  if (!node.op->Is("Gemm") || node.Int("transA") || node.Float("alpha", 1.0f) != 1.0f) return false;
  const Value *weights = node.Input(1), *bias = node.Input(2);
  if (!weights->IsConstant() || weights->constant->shape().rank() != 2 || !weights->type.encoding.IsPlain())
    return false;
  if (!bias) return true;
  const int64_t columns = weights->constant->shape()[node.Int("transB") ? 0 : 1];
  return node.Float("beta", 1.0f) == 1.0f && bias->IsConstant() && bias->constant->shape() == Shape{columns};
}

// The nearest value of more dimensions, and the same last one, that views made the matrix of; or null.
Value* BeforeJoin(Value* matrix) {
  if (!matrix->type.HasRank() || matrix->type.Rank() != 2) return nullptr;
  Value* value = matrix;
  for (int views = 0; views < kMostViews && IsViewOf(value->producer, value); ++views) {
    value = value->producer->Input(0);
    const auto& shape = *value->type.shape;
    if (shape.size() > 2 && shape.back() == matrix->type.shape->back()) return value;
  }
  return nullptr;
}

int Unjoin(Node& node, const PassContext& context) {
  const OpDef& product = GetOp("FusedMatMul", "zig");
  Value* output = node.Output(0);
  if (output->type.dtype != DType::kFloat32 || !context.Supports(product, output->type.dtype)) return 0;
  Value* rows = BeforeJoin(node.Input(0));
  if (!rows) return 0;
  std::vector<Value*> inputs = {rows, node.Input(1)};
  if (node.Input(2)) inputs.push_back(node.Input(2));
  Attributes attributes;
  if (node.Int("transB")) attributes["transB"] = int64_t{1};
  Value* made =
      node.graph->AddNode(product, std::move(inputs), std::move(attributes), {""}, node.name, &node)->outputs[0];
  Value* joined = ViewAs(node, made, *output->type.shape);
  return joined ? Replace(output, joined) : 0;
}

int Run(Graph& graph, PassContext& context) {
  int rewrites = 0;
  for (Node* node : NodesOf(graph))
    if (IsPlainGemm(*node) && !node->Output(0)->IsUnused()) rewrites += Unjoin(*node, context);
  return rewrites;
}

}  // namespace

const Pass kUnjoinProducts = {
    .name = "unjoin_products",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "the product's rows are the same, in the same order, and so is each one's arithmetic",
    .run = Run,
};

}  // namespace ziggurat
