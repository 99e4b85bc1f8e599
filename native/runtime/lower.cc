#include "runtime/lower.h"

#include <algorithm>
#include <map>

#include "ops/expander.h"
#include "runtime/kernel_site.h"

namespace ziggurat {
namespace {

// A value whose elements decide a shape is wanted on the host.
bool FeedsShapes(const Node& node) {
  for (const Value* output : node.outputs) {
    if (!output) continue;
    for (const Node* user : output->users)
      for (int i : user->op->shape_inputs)
        if (user->Input(i) == output) return true;
  }
  return false;
}

// Strings, sequences and resources never leave the host.
bool IsHostOnly(const Node& node) {
  auto host_only = [](const Value* value) {
    return value && (!value->type.IsTensor() || value->type.dtype == DType::kString);
  };
  return std::any_of(node.inputs.begin(), node.inputs.end(), host_only) ||
         std::any_of(node.outputs.begin(), node.outputs.end(), host_only);
}

bool ReadsShapeOnly(const Node& node) { return node.op->Is("Shape") || node.op->Is("Size"); }

class Lowering {
 public:
  Lowering(const PlanOptions& options, Placements& placements) : options_(options), placements_(placements) {}

  void Run(Graph& graph) {
    auto& nodes = graph.nodes();
    for (auto it = nodes.begin(); it != nodes.end();) {
      Node& node = **it;
      for (auto& [name, attribute] : node.attributes)
        if (auto* subgraph = std::get_if<std::shared_ptr<Graph>>(&attribute)) Run(**subgraph);
      if (node.op->Is(kControlFlow) || IsView(node) || Place(node)) {
        ++it;
        continue;
      }
      if (!node.op->expand || ++expansions_ > kMaxExpansions) {
        Refuse(node);
        ++it;
        continue;
      }
      const bool first = it == nodes.begin();
      auto before = first ? nodes.end() : std::prev(it);
      try {
        Expander::Expand(node);
      } catch (Error& error) {
        throw error.AtNode(node.op->name, node.name);
      }
      it = first ? graph.nodes().begin() : std::next(before);
    }
  }

  void ThrowIfRefused() const {
    if (refused_.empty()) return;
    std::string list;
    for (const auto& [what, count] : refused_) list += Cat(list.empty() ? "" : "; ", what, " (", count, ")");
    throw Error(Code::kUnsupported, "no kernel for: ", list);
  }

 private:
  bool Place(const Node& node) {
    StoreSite store(node, *options_.weights, options_.gate, options_.packed);
    MeasuringSite measuring(node, options_.packed);
    KernelSite& site = options_.measure ? static_cast<KernelSite&>(measuring) : store;
    const bool elsewhere = options_.device != options_.cpu;
    if (elsewhere && !FeedsShapes(node) && !ReadsShapeOnly(node) && !IsHostOnly(node)) {
      if (auto kernel = options_.device->FindKernel(site)) {
        placements_[&node] = {1, std::move(kernel)};
        return true;
      }
      if (node.op->expand) return false;
    }
    auto kernel = options_.cpu->FindKernel(site);
    if (!kernel) return false;
    placements_[&node] = {0, std::move(kernel)};
    DropPacked(node);
    return true;
  }

  // Loading then holds one weight twice, not the whole model: bytes of a file that are packed are given back at once,
  // and read again where another node needs them; bytes that are only in memory go with the last node that packs them.
  void DropPacked(const Node& node) {
    const auto needs = [&](const Node* user, const Value* value) {
      const auto placed = placements_.find(user);
      if (placed == placements_.end()) return true;  // not yet, or never: views and loops keep what they show
      for (size_t i = 0; i < user->inputs.size(); ++i)
        if (user->inputs[i] == value && placed->second.kernel->NeedsInput(static_cast<int>(i))) return true;
      return false;
    };
    for (Value* value : node.inputs) {
      if (!value || !value->IsConstant() || needs(&node, value)) continue;
      value->constant->Drop();
      if (options_.measure || options_.keep_constants || value->constant->InFile()) continue;
      if (value->constant.use_count() > 1 || value->graph_output_uses > 0) continue;
      if (std::none_of(value->users.begin(), value->users.end(), [&](const Node* user) { return needs(user, value); }))
        value->constant->Forget();
    }
  }

  void Refuse(const Node& node) {
    std::string types;
    for (const Value* input : node.inputs)
      types += Cat(types.empty() ? "" : ", ", input ? node.graph->ToString(input->type) : "-");
    ++refused_[Cat(node.op->domain.empty() ? "" : Cat(node.op->domain, "."), node.op->name, "(", types, ")")];
  }

  static constexpr int kMaxExpansions = 100000;
  const PlanOptions& options_;
  Placements& placements_;
  std::map<std::string, int> refused_;
  int expansions_ = 0;
};

}  // namespace

bool IsView(const Node& node) {
  const Value *input = node.Input(0), *output = node.Output(0);
  return node.op->Is(kView) && input && output && input->type.IsTensor() && output->type.IsTensor() &&
         input->type.dtype == output->type.dtype &&
         std::none_of(node.outputs.begin() + 1, node.outputs.end(), [](const Value* other) { return other; });
}

Placements Lower(Graph& graph, const PlanOptions& options) {
  Placements placements;
  Lowering lowering(options, placements);
  lowering.Run(graph);
  lowering.ThrowIfRefused();
  return placements;
}

}  // namespace ziggurat
