#include "runtime/model.h"

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <algorithm>
#include <cstring>
#include <shared_mutex>

#include "runtime/evaluator.h"

namespace ziggurat {
namespace {

// Rounding to nearest, denormals kept, whatever the calling thread had: part of "same request, same bits".
class FloatEnvironment {
 public:
#if defined(__SSE2__)
  FloatEnvironment() : saved_(_mm_getcsr()) { _mm_setcsr(0x1F80); }
  ~FloatEnvironment() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#endif
};

// The resources of one run: taken by it alone, and put back as they were if it fails.
class ResourceHold {
 public:
  explicit ResourceHold(const std::vector<ObjectValue>& objects) {
    for (const ObjectValue& object : objects) {
      if (!object.resource) continue;
      if (object.resource->in_use.exchange(true)) {
        Release();
        throw Error(Code::kInvalidArgument, "a resource (", object.resource->kind(),
                    ") is in use by another run, or given twice");
      }
      held_.push_back({object.resource, object.resource->Checkpoint()});
    }
  }
  ~ResourceHold() {
    if (!finished_)
      for (auto& [resource, checkpoint] : held_) resource->Restore(checkpoint);
    Release();
  }
  void Finish() { finished_ = true; }

 private:
  void Release() {
    for (auto& [resource, checkpoint] : held_) resource->in_use.store(false);
    held_.clear();
  }
  std::vector<std::pair<std::shared_ptr<Resource>, int64_t>> held_;
  bool finished_ = false;
};

InputSpec Describe(const Graph& graph, const Value& value, const std::string& name) {
  InputSpec spec{name, value.type, {}};
  if (value.type.IsTensor() && value.type.shape)
    for (const Dim& dim : *value.type.shape) spec.dims.push_back(graph.ToString(dim));
  return spec;
}

}  // namespace

Model::Model(std::shared_ptr<Engine> engine, std::shared_ptr<Graph> graph, const ModelOptions& options)
    : engine_(std::move(engine)) {
  engine_->CheckProcess();
  if (options.threads < 0) throw Error(Code::kInvalidArgument, "threads must be at least 0, not ", options.threads);
  threads_ = options.threads ? std::min(options.threads, engine_->threads()) : engine_->threads();
  for (const Value* input : graph->inputs()) inputs_.push_back(Describe(*graph, *input, input->name));
  for (size_t i = 0; i < graph->outputs().size(); ++i)
    outputs_.push_back(Describe(*graph, *graph->outputs()[i], graph->output_names()[i]));
  FloatEnvironment environment;
  PassContext context;
  context.evaluate = MakeEvaluator(*engine_);
  PassOptions passes;
  passes.level = options.optimize ? OptimizeLevel::kAll : OptimizeLevel::kNone;
  passes.disabled = options.disabled_passes;
  const bool side_by_side = std::erase(passes.disabled, "side_by_side") == 0;
  const SymbolId batch = BatchSymbol(*graph);
  rows_.reason = "no input's first dimension is free";
  if (batch >= 0) rows_ = ProveRowsIndependent(*graph, batch);
  passes_ = RunPasses(*graph, context, passes);
  if (batch >= 0 && !rows_.independent) rows_ = ProveRowsIndependent(*graph, batch);
  PlanWithin(std::move(graph), options);
  layouts_ = std::make_unique<LayoutCache>(*plan_, threads_, side_by_side);
}

// What the model had goes back to the system, its own pages and the C library's.
Model::~Model() {
  layouts_.reset();
  plan_.reset();
  engine_->Settle();
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

namespace {

size_t StoredBytes(const Graph& graph) {
  size_t sum = 0;
  for (const auto& value : graph.values())
    if (value->IsConstant()) sum += value->constant->Bytes();
  return sum;
}

// Packing reads weights one by one; what passes have looked at must not lie beside them all.
void DropFileBytes(const Graph& graph) {
  constexpr size_t kSmall = 4096;
  for (const auto& value : graph.values())
    if (value->IsConstant() && value->constant->Bytes() > kSmall) value->constant->Drop();
}

size_t Sum(const PackedSizes& sizes) {
  size_t sum = 0;
  for (const auto& [key, bytes] : sizes) sum += bytes;
  return sum;
}

}  // namespace

// Plans; a load that cannot fit is refused before its weights are read.
void Model::PlanWithin(std::shared_ptr<Graph> graph, const ModelOptions& options) {
  DropFileBytes(*graph);
  PackedSizes sizes;
  PlanOptions planning{.cpu = &engine_->cpu(),
                       .device = &engine_->device(options.device),
                       .weights = &engine_->weights(),
                       .keep_constants = options.keep_constants,
                       .gate = gate_,
                       .packed = &sizes};
  const Budget& budget = *engine_->budget();
  const size_t left = budget.limit() - std::min(budget.limit(), budget.reserved());
  measured_ = options.measure;
  // No packing takes more than eight times what is stored; planning twice is for those that it might matter to.
  if (measured_ || StoredBytes(*graph) > left / 8) {
    planning.measure = true;
    plan_ = MakePlan(graph, planning);
    need_ = {Sum(sizes), plan_->weight_bytes, plan_->largest_constant};
    if (measured_) return;
    // Equal weights that another model has packed are shared, and known only when these are read.
    const size_t shared = engine_->weights().bytes(), all = need_.packed + need_.constants;
    if (all - std::min(all, shared) > left)
      throw Error(Code::kOutOfMemory, "the model's weights need ", FormatBytes(all), " (", FormatBytes(need_.packed),
                  " packed), but ", FormatBytes(budget.reserved()), " of the ", FormatBytes(budget.limit()),
                  " memory limit are in use");
    planning.measure = false;
    plan_.reset();
    sizes.clear();
  }
  plan_ = MakePlan(std::move(graph), planning);
  need_ = {Sum(sizes), plan_->weight_bytes, plan_->largest_constant};
  weights_ = engine_->budget()->Reserve(plan_->weight_bytes, "the model's weights");
}

RunNeed Model::NeedOf(const std::vector<Shape>& shapes) const {
  if (shapes.size() != inputs_.size())
    throw Error(Code::kInvalidArgument, "the model has ", inputs_.size(), " inputs, got ", shapes.size(), " shapes");
  std::vector<TensorView> views;
  for (size_t i = 0; i < shapes.size(); ++i) views.push_back({nullptr, inputs_[i].type.dtype, shapes[i]});
  const auto layout = layouts_->Get(BindSymbols(views));
  RunNeed need;
  for (size_t device = 0; device < plan_->devices.size(); ++device) {
    need.slab += layout->slab_bytes[device];
    need.scratch += layout->scratch_bytes[device];
  }
  for (size_t i = 0; i < plan_->slots.size(); ++i)
    if (plan_->slots[i].storage == Storage::kOutput) need.outputs += layout->views[i].Bytes();
  for (const Step& step : plan_->steps) need.dynamic_steps += !step.is_static || step.checks;
  return need;
}

// Values of the symbols in the inputs' dimensions, and a check of every input against its declaration.
std::vector<int64_t> Model::BindSymbols(const std::vector<TensorView>& inputs) const {
  if (inputs.size() != inputs_.size())
    throw Error(Code::kInvalidArgument, "the model has ", inputs_.size(), " inputs, got ", inputs.size());
  std::vector<int64_t> symbols(plan_->graph->symbols().size(), 0);
  std::vector<int> bound_by(symbols.size(), -1);
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const InputSpec& spec = inputs_[i];
    const TensorView& view = inputs[i];
    if (!spec.type.IsTensor()) continue;
    auto fail = [&](const auto&... parts) { throw Error(Code::kInvalidArgument, parts...).AtTensor(spec.name); };
    if (view.dtype != spec.type.dtype) fail("expected ", Name(spec.type.dtype), ", got ", Name(view.dtype));
    if (!spec.type.shape) continue;
    std::string expected;
    for (const std::string& dim : spec.dims) expected += Cat(expected.empty() ? "[" : ",", dim);
    expected += expected.empty() ? "[]" : "]";
    if (view.shape.rank() != spec.type.Rank()) fail("expected shape ", expected, ", got ", view.shape);
    for (int axis = 0; axis < view.shape.rank(); ++axis) {
      const Dim& dim = (*spec.type.shape)[axis];
      const int64_t extent = view.shape[axis];
      if (dim.IsConst() && dim.Const() != extent)
        fail("expected shape ", expected, ", got ", view.shape, ": dimension ", axis, " must be ", dim.Const());
      const auto symbol = dim.AsSymbol();
      if (!symbol) continue;
      if (bound_by[*symbol] >= 0 && symbols[*symbol] != extent)
        fail("dimension ", axis, " ('", plan_->graph->symbols()[*symbol].name, "') is ", extent, ", but input '",
             inputs_[bound_by[*symbol]].name, "' has ", symbols[*symbol]);
      symbols[*symbol] = extent;
      bound_by[*symbol] = static_cast<int>(i);
    }
  }
  return symbols;
}

void Model::SetUp(Frame& frame, const Layout& layout, const RunRequest& request, Buffer& slab) const {
  frame.views = layout.views;
  frame.branches = layout.branches;
  frame.outputs.resize(plan_->outputs.size());
  for (size_t i = 0; i < request.out.size() && i < frame.outputs.size(); ++i) frame.outputs[i].view = request.out[i];
  // Slab, then scratch behind it, a device each.
  for (size_t device = 0; device < plan_->devices.size(); ++device) {
    const size_t bytes = layout.slab_bytes[device] + layout.scratch_bytes[device];
    std::byte* base = nullptr;
    if (bytes) {
      frame.scope.reservations.push_back(engine_->budget()->Reserve(bytes, "a run"));
      if (device == 0)
        slab = engine_->memory()->Allocate(bytes), base = slab.data();
      else
        base = frame.scope.device_memory.Allocate(*plan_->devices[device], bytes);
    }
    frame.scratch[device] = base ? base + layout.slab_bytes[device] : nullptr;
    for (size_t i = 0; i < plan_->slots.size(); ++i)
      if (plan_->slots[i].storage == Storage::kSlab && plan_->slots[i].device == static_cast<int>(device))
        frame.views[i].data = base + layout.offsets[i];
  }
  for (size_t i = 0; i < plan_->inputs.size(); ++i) {
    frame.views[plan_->inputs[i]] = request.inputs[i];
    if (!frame.objects.empty() && i < request.input_objects.size())
      frame.objects[plan_->inputs[i]] = request.input_objects[i];
  }
  for (size_t i = 0; i < plan_->slots.size(); ++i) {
    const Slot& slot = plan_->slots[i];
    if (slot.storage == Storage::kConstant)
      frame.views[i].data = slot.constant_data;
    else if (slot.storage == Storage::kOutput)
      frame.TakeOutput(slot.graph_output, static_cast<int>(i), frame.views[i].shape);
  }
  // Static views, and results written over inputs, have no step of their own. A result's slot may come after.
  for (size_t i = 0; i < plan_->slots.size(); ++i)
    if (plan_->slots[i].storage == Storage::kView && plan_->slots[i].is_static)
      frame.views[i].data = frame.views[plan_->Root(static_cast<int>(i))].As<std::byte>() + layout.view_offsets[i];
}

std::vector<Output> Model::Collect(Frame& frame) const {
  for (size_t i = 0; i < plan_->outputs.size(); ++i) {
    const int slot = plan_->outputs[i];
    Output& output = frame.outputs[i];
    if (plan_->slots[slot].storage == Storage::kObject) {
      output.object = frame.objects[slot];
      continue;
    }
    const TensorView source = frame.views[slot];
    const TensorView given = output.view;
    if (given.data && (given.dtype != source.dtype || !(given.shape == source.shape)))
      throw Error(Code::kInvalidArgument, "the array given for it is ", Name(given.dtype), given.shape,
                  ", the result is ", Name(source.dtype), source.shape)
          .AtTensor(outputs_[i].name);
    output.view = source;
    const bool owned = plan_->slots[plan_->Root(slot)].graph_output == static_cast<int>(i) &&
                       source.dtype != DType::kString && (output.owner || source.data == given.data);
    if (owned) continue;
    if (given.data) {
      output.view.data = given.data;
    } else {
      SequenceElement copy = NewElement(source.dtype, source.shape);
      output.view = copy.tensor;
      output.owner = std::move(copy.storage);
    }
    CopyElements(source, output.view);
  }
  return std::move(frame.outputs);
}

std::vector<Output> Model::Run(const RunRequest& request) const {
  engine_->CheckProcess();
  if (measured_) throw Error(Code::kInvalidArgument, "the model was loaded to be measured: it has no weights");
  FloatEnvironment environment;
  request.limits.Poll();
  ThreadPool::Lease lease = engine_->Admit(request.limits.deadline, [&] { request.limits.Poll(); });
  const auto layout = layouts_->Get(BindSymbols(request.inputs));
  std::shared_lock running(*gate_);
  Buffer slab;
  Arena arena(engine_->memory(), engine_->budget());
  RunScope scope{.engine = *engine_,
                 .lease = lease,
                 .team = Team(engine_->thread_pool(), threads_),
                 .limits = request.limits,
                 .profile = request.profile,
                 .watch = request.watch,
                 .device_memory = {},
                 .keep = {},
                 .reservations = {}};
  Frame frame(*plan_, scope, nullptr, arena);
  for (Device* device : plan_->devices) scope.streams.push_back(device->NewStream());
  SetUp(frame, *layout, request, slab);
  ResourceHold resources(request.input_objects);
  try {
    Execute(frame);
    scope.Synchronize();
  } catch (...) {
    scope.streams.clear();  // waits for work that still looks at this frame
    throw;
  }
  std::vector<Output> outputs = Collect(frame);
  resources.Finish();
  engine_->Nudge();
  return outputs;
}

}  // namespace ziggurat
