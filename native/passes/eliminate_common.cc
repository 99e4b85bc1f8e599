// Merges nodes that compute the same, and small constants that hold the same.
#include <cmath>
#include <cstring>
#include <map>
#include <tuple>

#include "ir/text_constant.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

// Above this, comparing would read weights that otherwise stay in their file.
constexpr size_t kMaxComparedBytes = 4096;

bool SameConstant(const Constant& a, const Constant& b) {
  if (&a == &b) return true;
  if (a.dtype() != b.dtype() || !(a.shape() == b.shape()) || a.Bytes() > kMaxComparedBytes) return false;
  const TensorView x = a.View(), y = b.View();
  if (a.dtype() == DType::kString)
    return std::equal(x.As<std::string>(), x.As<std::string>() + x.Count(), y.As<std::string>());
  return std::memcmp(x.data, y.data, x.Bytes()) == 0;
}

bool SameAttribute(const Attribute& a, const Attribute& b) {
  if (a.index() != b.index() || KindOf(a) == AttributeKind::kGraph) return false;
  if (KindOf(a) == AttributeKind::kTensor)
    return SameConstant(*std::get<std::shared_ptr<Constant>>(a), *std::get<std::shared_ptr<Constant>>(b));
  return a == b;
}

// Defaults written out and left out are not told apart by name: what the node has decides.
bool SameComputation(const Node& a, const Node& b) {
  if (a.op != b.op || a.inputs != b.inputs || a.outputs.size() != b.outputs.size()) return false;
  for (size_t i = 0; i < a.outputs.size(); ++i)
    if (!a.outputs[i] != !b.outputs[i]) return false;
  if (a.attributes.size() != b.attributes.size()) return false;
  for (auto x = a.attributes.begin(), y = b.attributes.begin(); x != a.attributes.end(); ++x, ++y)
    if (x->first != y->first || !SameAttribute(x->second, y->second)) return false;
  return true;
}

int MergeConstants(Graph& graph) {
  int rewrites = 0;
  std::multimap<uint64_t, Value*> seen;
  for (const auto& value : graph.values()) {
    if (!value->IsConstant() || value->IsUnused()) continue;
    const bool small = value->constant->Bytes() <= kMaxComparedBytes;
    const uint64_t key = small ? ContentHash(*value->constant) : reinterpret_cast<uintptr_t>(value->constant.get());
    Value* twin = nullptr;
    for (auto [entry, end] = seen.equal_range(key); entry != end && !twin; ++entry)
      if (SameConstant(*entry->second->constant, *value->constant)) twin = entry->second;
    if (twin)
      rewrites += Replace(value.get(), twin);
    else
      seen.emplace(key, value.get());
  }
  return rewrites;
}

int MergeNodes(Graph& graph) {
  int rewrites = 0;
  std::multimap<std::tuple<const OpDef*, const Value*>, Node*> seen;
  for (Node* node : NodesOf(graph)) {
    if (node->op->effects.size() || node->op->Is(kControlFlow) || IsRandom(*node) || node->inputs.empty()) continue;
    const std::tuple key(node->op, static_cast<const Value*>(node->inputs[0]));
    Node* twin = nullptr;
    for (auto [entry, end] = seen.equal_range(key); entry != end && !twin; ++entry)
      if (SameComputation(*entry->second, *node)) twin = entry->second;
    if (!twin) {
      seen.emplace(key, node);
      continue;
    }
    bool replaced = true;
    for (size_t i = 0; i < node->outputs.size(); ++i)
      if (node->outputs[i] && !node->outputs[i]->IsUnused()) replaced &= Replace(node->outputs[i], twin->outputs[i]);
    rewrites += replaced;
  }
  return rewrites;
}

int Run(Graph& graph, PassContext&) { return MergeConstants(graph) + MergeNodes(graph); }

}  // namespace

const Pass kEliminateCommon = {
    .name = "eliminate_common",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "same op, same inputs, same attributes, no state and no randomness: same bits",
    .run = Run,
};

}  // namespace ziggurat
