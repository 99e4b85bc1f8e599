// Computes nodes whose inputs are all constants.
#include <algorithm>

#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

// Bytes the node's outputs will take, or -1 where the types do not tell or are not tensors.
int64_t OutputBytes(const Node& node) {
  int64_t bytes = 0;
  for (const Value* output : node.outputs) {
    if (!output) continue;
    if (!output->type.IsTensor() || output->type.encoding != Encoding{}) return -1;
    if (!output->type.IsStatic()) continue;  // shaped by the kernel: no larger than its inputs, as a rule
    bytes +=
        output->type.StaticShape().Count() * static_cast<int64_t>(std::max<size_t>(1, ByteSize(output->type.dtype)));
  }
  return bytes;
}

bool CanFold(const Node& node) {
  if (node.op->Is(kRandom) || node.op->Is(kControlFlow) || node.op->effects.size()) return false;
  if (node.inputs.empty() && !node.op->Is("Constant")) return false;
  return std::all_of(node.inputs.begin(), node.inputs.end(),
                     [](const Value* input) { return !input || input->IsConstant(); });
}

// What erasing the node gives back: constants that nobody else uses.
int64_t FreedBytes(const Node& node) {
  int64_t bytes = 0;
  for (const Value* input : node.inputs)
    if (input && UsedOnce(input)) bytes += static_cast<int64_t>(input->constant->Bytes());
  return bytes;
}

// The outputs' elements, or nothing where the node fails: then it stays, and fails with its name when it runs. Only
// where memory is short the load fails: what a graph folds to must not depend on how much there was.
std::vector<std::shared_ptr<Constant>> TryEvaluate(const Node& node, const PassContext& context) {
  std::vector<std::shared_ptr<Constant>> inputs;
  for (const Value* input : node.inputs) inputs.push_back(input ? input->constant : nullptr);
  try {
    auto outputs = context.evaluate(node, inputs);
    if (outputs.size() != node.outputs.size()) return {};
    for (size_t i = 0; i < outputs.size(); ++i)
      if (node.outputs[i] && !outputs[i]) return {};
    return outputs;
  } catch (const Error& error) {
    if (error.code() == Code::kOutOfMemory) throw;
    return {};
  }
}

int Run(Graph& graph, PassContext& context) {
  if (!context.evaluate) return 0;
  int rewrites = 0;
  for (Node* node : NodesOf(graph)) {  // in order, so that what is folded feeds what follows
    if (!CanFold(*node)) continue;
    const int64_t bytes = OutputBytes(*node), growth = bytes - FreedBytes(*node);
    if (bytes < 0 || growth > context.max_folded_growth) continue;
    const auto outputs = TryEvaluate(*node, context);
    if (outputs.empty()) continue;
    context.max_folded_growth -= growth;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!node->outputs[i] || node->outputs[i]->IsUnused()) continue;
      rewrites += Replace(node->outputs[i], graph.AddConstant(outputs[i], node->outputs[i]->name));
    }
  }
  if (rewrites) InferAgain(graph);
  return rewrites;
}

}  // namespace

const Pass kFoldConstants = {
    .name = "fold_constants",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "the evaluator runs the kernels that a run would; nodes with randomness or state are left alone",
    .run = Run,
};

}  // namespace ziggurat
