#include <algorithm>
#include <map>
#include <unordered_map>

#include "runtime/lower.h"
#include "runtime/parts.h"
#include "runtime/plan.h"

namespace ziggurat {

Plan::~Plan() {
  for (const DeviceBlock& block : device_constants) block.device->Free(block.data, block.bytes);
}

namespace {

// Plans one scope; a child planner asks its parent for what the scope captures.
class Planner {
 public:
  Planner(Plan& plan, const Graph& scope, Placements& placements, const PlanOptions& options, Planner* parent)
      : plan_(plan), placements_(placements), options_(options), parent_(parent) {
    plan_.scope = &scope;
    plan_.devices = {options.cpu};
    if (options.device != options.cpu) plan_.devices.push_back(options.device);
  }

  void Run() {
    for (const Value* input : plan_.scope->inputs()) AddInput(input);
    for (const auto& node : plan_.scope->nodes()) AddNode(*node);
    for (size_t i = 0; i < plan_.scope->outputs().size(); ++i) {
      const int slot = On(0, SlotOf(plan_.scope->outputs()[i]), nullptr);
      Use(slot, kForever);
      Need(plan_.Root(slot));
      plan_.outputs.push_back(slot);
    }
    if (!parent_) ClaimOutputs();
    // Who checks steps one by one looks at dense results.
    if (!options_.keep_constants) PlaceParts(plan_);
    ReuseInPlace();
  }

 private:
  static constexpr int kForever = 1 << 30;

  int NewSlot(const Value* value, Storage storage, int device) {
    Slot slot;
    slot.value = value;
    slot.storage = value->type.IsTensor() ? storage : Storage::kObject;
    slot.device = device;
    plan_.slots.push_back(std::move(slot));
    return static_cast<int>(plan_.slots.size()) - 1;
  }

  void AddInput(const Value* input) {
    const int slot = NewSlot(input, Storage::kInput, 0);
    slots_[input] = slot;
    plan_.inputs.push_back(slot);
    plan_.slots[slot].is_static = HasStaticShape(input->type);
    if (parent_ || !input->type.IsTensor() || !input->type.shape) return;
    for (const Dim& dim : *input->type.shape)
      if (auto symbol = dim.AsSymbol()) plan_.input_symbols.insert(*symbol);
    plan_.slots[slot].is_static = HasStaticShape(input->type);
  }

  int SlotOf(const Value* value) {
    if (auto known = slots_.find(value); known != slots_.end()) return known->second;
    int slot;
    if (value->IsConstant()) {
      slot = NewSlot(value, Storage::kConstant, 0);
      plan_.slots[slot].is_static = true;
    } else {
      ZIGGURAT_CHECK(parent_ && value->graph != plan_.scope);
      const int outer = parent_->SlotOf(value);
      parent_->Use(outer, static_cast<int>(parent_->plan_.steps.size()));
      slot = NewSlot(value, Storage::kCapture, parent_->plan_.slots[outer].device);
      if (plan_.slots[slot].storage == Storage::kCapture) plan_.slots[slot].view_of = outer;
      plan_.slots[slot].view_of = outer;
    }
    return slots_[value] = slot;
  }

  // Bytes must stay until `step`.
  void Use(int slot, int step) {
    Slot& root = plan_.slots[plan_.Root(slot)];
    root.last_step = std::max(root.last_step, step);
  }

  // Resources have no shape to wait for.
  bool HasStaticShape(const Type& type) const {
    if (!parent_ && type.kind == Kind::kResource) return true;
    if (parent_ || !type.shape || type.dtype == DType::kString || ByteSize(type.dtype) == 0) return false;
    std::set<SymbolId> symbols;
    for (const Dim& dim : *type.shape) dim.CollectSymbols(symbols);
    return std::includes(plan_.input_symbols.begin(), plan_.input_symbols.end(), symbols.begin(), symbols.end());
  }

  // The slot itself, or a copy of it on `device`, made by a step of its own.
  int On(int device, int slot, const Node* consumer) {
    if (plan_.slots[slot].device == device || plan_.slots[slot].storage == Storage::kObject) return slot;
    auto [entry, fresh] = copies_.try_emplace({slot, device}, -1);
    if (!fresh) return entry->second;
    const Slot source = plan_.slots[slot];
    if (source.storage == Storage::kConstant) return entry->second = ConstantOn(device, slot);
    const int copy = NewSlot(source.value, source.is_static ? Storage::kSlab : Storage::kDynamic, device);
    plan_.slots[copy].is_static = source.is_static;
    Step step;
    step.kind = Step::Kind::kCopy;
    step.node = consumer;
    step.device = device ? device : source.device;
    step.inputs = {slot};
    step.outputs = {copy};
    step.is_static = source.is_static;
    step.waits = device == 0;
    // A late copy reads host memory some time before the run ends: nothing may reuse it until then.
    if (device) Use(slot, kForever);
    Append(std::move(step));
    return entry->second = copy;
  }

  int ConstantOn(int device, int slot) {
    const TensorView view = plan_.slots[slot].value->constant->View();
    Plan::DeviceBlock block{plan_.devices[device], plan_.devices[device]->Allocate(view.Bytes()), view.Bytes()};
    plan_.device_constants.push_back(block);
    auto stream = block.device->NewStream();
    stream->Copy(block.data, view.data, block.bytes);
    stream->Synchronize();
    const int copy = NewSlot(plan_.slots[slot].value, Storage::kConstant, device);
    plan_.slots[copy].is_static = true;
    plan_.slots[copy].constant_data = block.data;
    return copy;
  }

  void Append(Step step) {
    const int index = static_cast<int>(plan_.steps.size());
    step.io = plan_.io_count;
    plan_.io_count += static_cast<int>(step.inputs.size() + step.outputs.size());
    for (int slot : step.inputs)
      if (slot >= 0) {
        Use(slot, index);
        step.has_objects |= plan_.slots[slot].storage == Storage::kObject;
      }
    for (int slot : step.outputs)
      if (slot >= 0) {
        if (plan_.slots[slot].storage != Storage::kView) plan_.slots[slot].first_step = index;
        Use(slot, index);
        step.has_objects |= plan_.slots[slot].storage == Storage::kObject;
      }
    plan_.steps.push_back(std::move(step));
  }

  void AddNode(const Node& node) {
    if (node.op->Is(kControlFlow)) return AddControlFlow(node);
    if (IsView(node)) return AddView(node);
    auto placed = placements_.find(&node);
    ZIGGURAT_CHECK(placed != placements_.end());
    Step step;
    step.node = &node;
    step.device = placed->second.device;
    step.kernel = std::move(placed->second.kernel);
    if (plan_.devices.size() > 1 && step.device == 0) ++plan_.fallback_steps;
    const bool shape_only = node.op->Is("Shape") || node.op->Is("Size");
    bool is_static = !node.op->Is(kKernelShaped);
    for (const Value* output : node.outputs) is_static &= !output || HasStaticShape(output->type);
    for (size_t i = 0; i < node.inputs.size(); ++i)
      step.inputs.push_back(InputSlot(node, step, i, is_static, shape_only));
    for (const Value* output : node.outputs) {
      step.outputs.push_back(output ? NewSlot(output, is_static ? Storage::kSlab : Storage::kDynamic, step.device)
                                    : -1);
      if (output) {
        slots_[output] = step.outputs.back();
        plan_.slots[step.outputs.back()].is_static = is_static;
      }
    }
    step.is_static = is_static;
    step.checks = !is_static;
    for (int slot : step.inputs) step.checks |= slot >= 0 && !plan_.slots[slot].is_static;
    // The host allocates by shapes that the kernel finds, so it must see them.
    step.waits = step.device != 0 && node.op->Is(kKernelShaped);
    Append(std::move(step));
  }

  int InputSlot(const Node& node, const Step& step, size_t i, bool is_static, bool shape_only) {
    if (!node.inputs[i]) return -1;
    int slot = SlotOf(node.inputs[i]);
    const auto& shape_inputs = node.op->shape_inputs;
    const bool decides = std::find(shape_inputs.begin(), shape_inputs.end(), static_cast<int>(i)) != shape_inputs.end();
    // Inference while running reads these on the host.
    if (decides && !is_static) Need(On(0, slot, &node));
    if (shape_only) return slot;
    if (plan_.slots[slot].storage == Storage::kConstant && !step.kernel->NeedsInput(static_cast<int>(i))) return slot;
    slot = On(step.device, slot, &node);
    Need(slot);
    return slot;
  }

  // A constant that a step reads keeps its elements.
  void Need(int slot) {
    Slot& constant = plan_.slots[slot];
    if (constant.storage != Storage::kConstant || constant.constant_data) return;
    const Constant& held = *constant.value->constant;
    // No question about shapes needs a large one's elements.
    if (options_.measure && MeasuringSite::IsOnlyCounted(held)) {
      if (counted_.insert(slot).second) plan_.weight_bytes += held.Bytes();
      return;
    }
    const TensorView view = held.View();
    constant.constant_data = static_cast<std::byte*>(view.data);
    plan_.weight_bytes += view.Bytes();
  }

  void AddView(const Node& node) {
    Step step;
    step.kind = Step::Kind::kView;
    step.node = &node;
    step.inputs = {SlotOf(node.inputs[0])};
    Need(plan_.Root(step.inputs[0]));
    for (size_t i = 1; i < node.inputs.size(); ++i) {
      if (node.inputs[i]) Need(On(0, SlotOf(node.inputs[i]), &node));
      step.inputs.push_back(node.inputs[i] ? On(0, SlotOf(node.inputs[i]), &node) : -1);
    }
    const Slot& source = plan_.slots[step.inputs[0]];
    const bool is_static = source.is_static && HasStaticShape(node.outputs[0]->type);
    step.device = source.device;
    const int slot = NewSlot(node.outputs[0], Storage::kView, step.device);
    plan_.slots[slot].view_of = step.inputs[0];
    plan_.slots[slot].is_static = is_static;
    slots_[node.outputs[0]] = slot;
    step.outputs = {slot};
    step.is_static = is_static;
    if (!is_static) Append(std::move(step));
  }

  void AddControlFlow(const Node& node) {
    Step step;
    step.kind = node.op->Is("If") ? Step::Kind::kIf : node.op->Is("Loop") ? Step::Kind::kLoop : Step::Kind::kScan;
    step.node = &node;
    step.is_static = false;
    for (const Value* input : node.inputs) {
      step.inputs.push_back(input ? On(0, SlotOf(input), &node) : -1);
      if (input) Need(step.inputs.back());
    }
    for (const char* name : {"then_branch", "else_branch", "body"}) {
      auto subgraph = node.Subgraph(name);
      if (!subgraph) continue;
      auto subplan = std::make_unique<Plan>();
      Planner(*subplan, *subgraph, placements_, options_, this).Run();
      plan_.weight_bytes += subplan->weight_bytes;
      plan_.fallback_steps += subplan->fallback_steps;
      step.subplans.push_back(std::move(subplan));
    }
    for (const Value* output : node.outputs) {
      step.outputs.push_back(output ? NewSlot(output, Storage::kDynamic, 0) : -1);
      if (output) slots_[output] = step.outputs.back();
    }
    Append(std::move(step));
  }

  // Memory that ends as an output is the caller's from the start; the executor copies what cannot be (inputs,
  // constants, a second name of the same bytes).
  void ClaimOutputs() {
    for (size_t i = 0; i < plan_.outputs.size(); ++i) {
      Slot& root = plan_.slots[plan_.Root(plan_.outputs[i])];
      if (root.device != 0 || root.graph_output >= 0) continue;
      if (root.storage == Storage::kSlab) root.storage = Storage::kOutput;
      if (root.storage == Storage::kOutput || root.storage == Storage::kDynamic)
        root.graph_output = static_cast<int>(i);
    }
  }

  // Lets a step write over the input that it reads last.
  void ReuseInPlace() {
    for (size_t index = 0; index < plan_.steps.size(); ++index) {
      const Step& step = plan_.steps[index];
      if (step.kind != Step::Kind::kKernel || !step.is_static || step.has_objects) continue;
      for (size_t o = 0; o < step.outputs.size(); ++o) {
        const int i = step.outputs[o] < 0 ? -1 : step.kernel->InPlaceInput(static_cast<int>(o));
        if (i < 0 || i >= static_cast<int>(step.inputs.size()) || step.inputs[i] < 0) continue;
        TryInPlace(static_cast<int>(index), step.outputs[o], step.inputs[i]);
      }
    }
  }

  void TryInPlace(int index, int output, int input) {
    Slot& out = plan_.slots[output];
    const int root_index = plan_.Root(input);
    Slot& root = plan_.slots[root_index];
    const Type &out_type = out.value->type, &in_type = plan_.slots[input].value->type;
    if (root.storage != Storage::kSlab || root.device != out.device || root.last_step != index) return;
    if (out.storage != Storage::kSlab && out.storage != Storage::kOutput) return;
    if (!plan_.IsWhole(input)) return;
    if (!(out_type.shape == in_type.shape) || ByteSize(out_type.dtype) != ByteSize(in_type.dtype)) return;
    for (int other : plan_.steps[index].inputs)
      if (other >= 0 && other != input && plan_.Root(other) == root_index) return;
    root.last_step = out.last_step;
    if (out.storage == Storage::kOutput) {
      root.storage = Storage::kOutput;
      root.graph_output = out.graph_output;
      out.graph_output = -1;
    }
    out.storage = Storage::kView;
    out.view_of = input;
  }

  Plan& plan_;
  Placements& placements_;
  const PlanOptions& options_;
  Planner* parent_;
  std::unordered_map<const Value*, int> slots_;
  std::map<std::pair<int, int>, int> copies_;
  std::set<int> counted_;  // slots of constants that are measured and not read
};

}  // namespace

namespace {

// Constants whose elements no step reads (packed, folded) give their bytes back.
void DropUnread(const Plan& plan, std::set<const Value*>& read) {
  for (const Slot& slot : plan.slots)
    if (slot.storage == Storage::kConstant && slot.constant_data) read.insert(slot.value);
  for (const Step& step : plan.steps)
    for (const auto& subplan : step.subplans) DropUnread(*subplan, read);
}

void DropConstants(Graph& graph, const std::set<const Value*>& read) {
  for (const auto& value : graph.values())
    if (value->IsConstant() && !read.contains(value.get())) value->constant.reset();
  for (const auto& node : graph.nodes())
    for (auto& [name, attribute] : node->attributes)
      if (auto* subgraph = std::get_if<std::shared_ptr<Graph>>(&attribute)) DropConstants(**subgraph, read);
}

}  // namespace

std::unique_ptr<Plan> MakePlan(std::shared_ptr<Graph> graph, const PlanOptions& options) {
  Placements placements = Lower(*graph, options);
  auto plan = std::make_unique<Plan>();
  Planner(*plan, *graph, placements, options, nullptr).Run();
  for (const auto& value : graph->values())
    if (value->IsConstant()) plan->largest_constant = std::max(plan->largest_constant, value->constant->Bytes());
  std::set<const Value*> read;
  DropUnread(*plan, read);
  if (!options.keep_constants && !options.measure) DropConstants(*graph, read);
  plan->graph = std::move(graph);
  return plan;
}

}  // namespace ziggurat
