#include <cstring>
#include <string>

#include "ops/infer.h"
#include "runtime/frame.h"

namespace ziggurat {

void CopyElements(const TensorView& from, const TensorView& to) {
  const size_t bytes = from.Bytes();
  if (bytes == 0) return;
  if (from.dtype == DType::kString)
    std::copy_n(from.As<std::string>(), from.Count(), to.As<std::string>());
  else
    std::memcpy(to.data, from.data, bytes);
}

Frame::Frame(const Plan& plan, RunScope& scope, Frame* parent, Arena& arena)
    : plan(plan), scope(scope), parent(parent), arena(&arena), io(plan.io_count), scratch(plan.devices.size()) {
  for (const Slot& slot : plan.slots)
    if (slot.storage == Storage::kObject) {
      objects.resize(plan.slots.size());
      io_objects.resize(plan.io_count);
      break;
    }
}

void Frame::TakeOutput(int index, int slot, const Shape& shape) {
  TensorView& view = views[slot];
  view.shape = shape;
  Output& output = outputs[index];
  // An array that the caller handed in and that fits is written where it lies.
  if (output.view.data && output.view.dtype == view.dtype && output.view.Bytes() == view.Bytes()) {
    view.data = output.view.data;
    return;
  }
  scope.reservations.push_back(scope.engine.budget()->Reserve(view.Bytes(), "an output"));
  auto buffer = std::make_shared<Buffer>(scope.engine.memory()->Allocate(view.Bytes(), Life::kHeld));
  view.data = buffer->data();
  output.owner = std::move(buffer);
}

void Frame::Take(int slot, const Shape& shape) {
  const Slot& planned = plan.slots[slot];
  TensorView& view = views[slot];
  view.shape = shape;
  view.dtype = planned.value->type.dtype;
  if (view.dtype == DType::kString) {
    SequenceElement element = NewElement(view.dtype, shape);
    view.data = element.tensor.data;
    scope.keep.push_back(std::move(element.storage));
  } else if (planned.graph_output >= 0 && !parent) {
    TakeOutput(planned.graph_output, slot, shape);
  } else if (planned.device != 0) {
    const size_t bytes = view.Bytes();
    scope.reservations.push_back(scope.engine.budget()->Reserve(bytes, "a run"));
    view.data = scope.device_memory.Allocate(*plan.devices[planned.device], bytes);
  } else {
    view.data = arena->Allocate(view.Bytes());
  }
}

namespace {

// Shapes of a step whose inputs only now have theirs. Returns false where the kernel itself sets the outputs' shapes.
void InferAndTake(Frame& frame, const Step& step) {
  std::vector<TensorView> seen;
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    int slot = step.inputs[i];
    seen.push_back(slot < 0 ? TensorView{} : frame.views[slot]);
    if (slot >= 0 && frame.plan.slots[slot].device != 0) seen.back().data = nullptr;
  }
  // A shape input that lies on a device has a copy on the host, made just before this step.
  for (int i : step.node->op->shape_inputs)
    if (i < static_cast<int>(seen.size()) && step.inputs[i] >= 0 && !seen[i].data && step.device != 0)
      for (size_t slot = 0; slot < frame.plan.slots.size(); ++slot)
        if (frame.plan.slots[slot].device == 0 &&
            frame.plan.slots[slot].value == frame.plan.slots[step.inputs[i]].value)
          seen[i] = frame.views[slot];
  InferContext context(*step.node, seen);
  try {
    step.node->op->infer(context);
  } catch (Error& error) {
    throw error.AtNode(step.node->op->name, step.node->name);
  }
  for (size_t o = 0; o < step.outputs.size(); ++o) {
    const int slot = step.outputs[o];
    if (slot < 0 || frame.plan.slots[slot].storage == Storage::kObject) continue;
    const Type& type = context.output_types[o];
    const bool known = !context.kernel_sets_shape && type.IsTensor() && type.IsStatic();
    if (!step.is_static) {
      frame.views[slot] = {nullptr, frame.plan.slots[slot].value->type.dtype, {}};
      if (known) frame.Take(slot, type.StaticShape());
    } else if (known && !(type.StaticShape() == frame.views[slot].shape)) {
      throw Error(Code::kInvalidArgument, "output ", o, " has shape ", type.StaticShape(), " where the graph promised ",
                  frame.views[slot].shape)
          .AtNode(step.node->op->name, step.node->name);
    }
  }
}

// A view's shape, checked to hold the same number of elements.
void RunView(Frame& frame, const Step& step) {
  std::vector<TensorView> seen;
  for (int slot : step.inputs) seen.push_back(slot < 0 ? TensorView{} : frame.views[slot]);
  const TensorView source = frame.views[step.inputs[0]];
  if (step.device != 0) seen[0].data = nullptr;
  InferContext context(*step.node, seen);
  try {
    step.node->op->infer(context);
    const Type& type = context.output_types[0];
    if (!type.IsStatic()) throw Error(Code::kInternal, "the shape of a view is not known from its inputs");
    TensorView& view = frame.views[step.outputs[0]];
    view = {source.data, source.dtype, type.StaticShape()};
    if (view.Count() != source.Count())
      throw Error(Code::kInvalidArgument, "cannot see ", source.shape, " as ", view.shape);
  } catch (Error& error) {
    throw error.AtNode(step.node->op->name, step.node->name);
  }
}

void RunCopy(Frame& frame, const Step& step) {
  const TensorView& from = frame.views[step.inputs[0]];
  TensorView& to = frame.views[step.outputs[0]];
  if (!step.is_static) frame.Take(step.outputs[0], from.shape);
  Stream& stream = *frame.scope.streams[step.device];
  stream.Copy(to.data, from.data, from.Bytes());
  if (step.waits) stream.Synchronize();
}

// With `alone` 0 or more bytes into the scratch: by this thread alone, beside others.
void RunKernel(Frame& frame, const Step& step, std::optional<size_t> alone = std::nullopt) {
  if (step.checks) InferAndTake(frame, step);
  const size_t inputs = step.inputs.size(), outputs = step.outputs.size();
  TensorView* io = frame.io.data() + step.io;
  for (size_t i = 0; i < inputs; ++i) io[i] = step.inputs[i] < 0 ? TensorView{} : frame.views[step.inputs[i]];
  for (size_t o = 0; o < outputs; ++o)
    io[inputs + o] = step.outputs[o] < 0 ? TensorView{} : frame.views[step.outputs[o]];
  auto allocate = [&](int output, const Shape& shape) {
    const int slot = step.outputs[output];
    if (slot < 0) return;
    frame.Take(slot, shape);
    io[inputs + output] = frame.views[slot];
  };
  KernelContext context{
      .inputs = {io, inputs},
      .outputs = {io + inputs, outputs},
      .input_objects = {},
      .output_objects = {},
      .scratch = frame.scratch[step.device] ? frame.scratch[step.device] + alone.value_or(0) : nullptr,
      .team = alone ? Team(frame.scope.engine.thread_pool(), 1) : frame.scope.team,
      .allocate = allocate};
  if (step.has_objects) {
    ObjectValue** objects = frame.io_objects.data() + step.io;
    for (size_t i = 0; i < inputs + outputs; ++i) {
      const int slot = i < inputs ? step.inputs[i] : step.outputs[i - inputs];
      objects[i] = slot >= 0 && frame.plan.slots[slot].storage == Storage::kObject ? &frame.objects[slot] : nullptr;
    }
    context.input_objects = {objects, inputs};
    context.output_objects = {objects + inputs, outputs};
  }
  if (step.checks)
    if (const size_t bytes = step.kernel->ScratchBytes(context.inputs, context.outputs, frame.scope.team.size()))
      context.scratch = step.device == 0 ? frame.arena->Allocate(bytes)
                                         : frame.scope.device_memory.Allocate(*frame.plan.devices[step.device], bytes);
  Stream& stream = *frame.scope.streams[step.device];
  stream.Launch(*step.kernel, context, *step.node);
  if (step.waits) stream.Synchronize();
}

void RunStep(Frame& frame, const Step& step) {
  switch (step.kind) {
    case Step::Kind::kKernel:
      return RunKernel(frame, step);
    case Step::Kind::kView:
      return RunView(frame, step);
    case Step::Kind::kCopy:
      return RunCopy(frame, step);
    case Step::Kind::kIf:
      return ExecuteIf(frame, step);
    case Step::Kind::kLoop:
      return ExecuteLoop(frame, step);
    case Step::Kind::kScan:
      return ExecuteScan(frame, step);
  }
}

void RunProfiled(Frame& frame, const Step& step) {
  const auto start = std::chrono::steady_clock::now();
  RunStep(frame, step);
  frame.scope.Synchronize();
  const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - start;
  std::vector<TensorView> inputs, outputs;
  StepProfile entry{&step, time.count(), 0, 0};
  for (int slot : step.inputs) {
    inputs.push_back(slot < 0 ? TensorView{} : frame.views[slot]);
    if (slot < 0) continue;
    const Encoding& encoding = frame.plan.slots[slot].value->type.encoding;
    entry.bytes += encoding.IsPlain() ? frame.views[slot].Bytes()
                                      : static_cast<size_t>(GgmlBytes(encoding, frame.views[slot].shape));
  }
  for (int slot : step.outputs) {
    outputs.push_back(slot < 0 ? TensorView{} : frame.views[slot]);
    if (slot >= 0) entry.bytes += frame.views[slot].Bytes();
  }
  if (step.kernel) entry.flops = step.kernel->Flops(inputs, outputs);
  frame.scope.profile->push_back(entry);
}

void RunWatched(Frame& frame, const Step& step) {
  const bool kernel = step.kind == Step::Kind::kKernel;
  frame.scope.Synchronize();
  if (kernel) frame.scope.watch->Before(frame, step);
  RunStep(frame, step);
  frame.scope.Synchronize();
  if (kernel) frame.scope.watch->After(frame, step);
}

// A worker walks each branch. The first error ends the others between two of their steps.
void RunBranches(Frame& frame, const Branches& branches) {
  std::atomic<bool> failed{false};
  frame.scope.team.ParallelFor(static_cast<int64_t>(branches.lists.size()), [&](int64_t i, int) {
    for (int step : branches.lists[i]) {
      if (failed.load(std::memory_order_relaxed)) return;
      try {
        frame.scope.limits.Poll();
        RunKernel(frame, frame.plan.steps[step], branches.scratch[i]);
      } catch (...) {
        failed.store(true, std::memory_order_relaxed);
        throw;
      }
    }
  });
}

}  // namespace

void Execute(Frame& frame) {
  // Who looks at single steps sees them one after the other.
  auto branches = frame.scope.watch || frame.scope.profile ? frame.branches.end() : frame.branches.begin();
  for (int i = 0; i < static_cast<int>(frame.plan.steps.size()); ++i) {
    const Step& step = frame.plan.steps[i];
    frame.scope.Poll();
    if (branches != frame.branches.end() && branches->first == i) {
      RunBranches(frame, *branches);
      i = branches++->last - 1;
      continue;
    }
    if (frame.scope.watch)
      RunWatched(frame, step);
    else if (frame.scope.profile)
      RunProfiled(frame, step);
    else
      RunStep(frame, step);
  }
}

}  // namespace ziggurat
