// If and Loop: steps that own plans.
#include <cstring>

#include "ops/infer.h"
#include "runtime/child_frame.h"

namespace ziggurat {
namespace {

constexpr int kMaxDepth = 64;

bool ReadBool(const TensorView& view, const Step& step) {
  if (view.Count() != 1)
    throw Error(Code::kInvalidArgument, "the condition must have one element, its shape is ", view.shape)
        .AtNode(step.node->op->name, step.node->name);
  return *view.As<bool>();
}

}  // namespace

void CheckDepth(const Frame& frame, const Step& step) {
  int depth = 0;
  for (const Frame* outer = &frame; outer; outer = outer->parent) ++depth;
  if (depth > kMaxDepth)
    throw Error(Code::kUnsupported, "control flow is nested deeper than ", kMaxDepth)
        .AtNode(step.node->op->name, step.node->name);
}

void BindOuter(Frame& child, Frame& frame) {
  child.views.assign(child.plan.slots.size(), TensorView{});
  for (size_t i = 0; i < child.plan.slots.size(); ++i) {
    const Slot& slot = child.plan.slots[i];
    child.views[i].dtype = slot.value->type.dtype;
    if (slot.storage == Storage::kConstant) {
      for (const Dim& dim : *slot.value->type.shape) child.views[i].shape.push_back(dim.Const());
      child.views[i].data = slot.constant_data;
    } else if (slot.view_of >= 0 && slot.storage == Storage::kCapture) {
      child.views[i] = frame.views[slot.view_of];
    } else if (slot.view_of >= 0 && slot.storage == Storage::kObject) {
      child.objects[i] = frame.objects[slot.view_of];
    }
  }
}

void HandOver(Frame& child, int from, Frame& frame, int to) {
  if (to < 0) return;
  if (frame.plan.slots[to].storage == Storage::kObject) {
    frame.objects[to] = child.objects[from];
    return;
  }
  const TensorView source = child.views[from];
  frame.Take(to, source.shape);
  CopyElements(source, frame.views[to]);
}

TensorView KeepForNext(Frame& child, int slot) {
  TensorView view = child.views[slot];
  const bool passed_through = child.plan.slots[child.plan.Root(slot)].storage == Storage::kInput;
  if (passed_through && view.dtype != DType::kString && view.data) {
    std::byte* own = child.arena->Allocate(view.Bytes());
    if (view.Bytes()) std::memcpy(own, view.data, view.Bytes());
    view.data = own;
  }
  return view;
}

void ExecuteIf(Frame& frame, const Step& step) {
  CheckDepth(frame, step);
  const Plan& plan = *step.subplans[ReadBool(frame.views[step.inputs[0]], step) ? 0 : 1];
  Frame child(plan, frame.scope, &frame, *frame.arena);
  BindOuter(child, frame);
  Execute(child);
  frame.scope.Synchronize();
  for (size_t o = 0; o < step.outputs.size(); ++o) HandOver(child, plan.outputs[o], frame, step.outputs[o]);
}

namespace {

// One Loop while it runs. Iterations alternate between two arenas: what one hands to the next lies in the other.
class LoopRun {
 public:
  LoopRun(Frame& frame, const Step& step)
      : frame_(frame),
        step_(step),
        body_(*step.subplans[0]),
        arenas_{Arena(frame.scope.engine.memory(), frame.scope.engine.budget()),
                Arena(frame.scope.engine.memory(), frame.scope.engine.budget())},
        child_(body_, frame.scope, &frame, arenas_[0]),
        carried_(body_.inputs.size() - 2),
        objects_(body_.inputs.size() - 2),
        scans_(body_.outputs.size() - 1 - carried_.size()) {}

  void Run() {
    BindOuter(child_, frame_);
    const int64_t trips = HasInput(0) ? ReadTrips() : INT64_MAX;
    bool go = HasInput(1) ? ReadBool(frame_.views[step_.inputs[1]], step_) : true;
    for (size_t i = 0; i < carried_.size(); ++i) {
      const int slot = HasInput(i + 2) ? step_.inputs[i + 2] : -1;
      if (slot >= 0) carried_[i] = frame_.views[slot];
      if (slot >= 0 && !frame_.objects.empty()) objects_[i] = frame_.objects[slot];
    }
    for (int64_t trip = 0; go && trip < trips; ++trip) {
      frame_.scope.limits.Poll();
      go = Iterate(trip);
    }
    for (size_t i = 0; i < carried_.size(); ++i) GiveCarried(i);
    for (size_t i = 0; i < scans_.size(); ++i) GiveScan(i);
  }

 private:
  bool HasInput(size_t i) const { return i < step_.inputs.size() && step_.inputs[i] >= 0; }

  int64_t ReadTrips() const {
    const TensorView& view = frame_.views[step_.inputs[0]];
    if (view.Count() != 1)
      throw Error(Code::kInvalidArgument, "the trip count must have one element, its shape is ", view.shape)
          .AtNode(step_.node->op->name, step_.node->name);
    return *view.As<int64_t>();
  }

  bool Iterate(int64_t trip) {
    child_.arena = &arenas_[trip % 2];
    child_.arena->Reset();
    trip_ = trip;
    child_.views[body_.inputs[0]] = {&trip_, DType::kInt64, {}};
    child_.views[body_.inputs[1]] = {&condition_, DType::kBool, {}};
    for (size_t i = 0; i < carried_.size(); ++i) {
      child_.views[body_.inputs[i + 2]] = carried_[i];
      if (!child_.objects.empty()) child_.objects[body_.inputs[i + 2]] = objects_[i];
    }
    Execute(child_);
    frame_.scope.Synchronize();
    const bool go = ReadBool(child_.views[body_.outputs[0]], step_);
    for (size_t i = 0; i < carried_.size(); ++i) Carry(i);
    for (size_t i = 0; i < scans_.size(); ++i) {
      const TensorView& view = child_.views[body_.outputs[1 + carried_.size() + i]];
      if (!scans_[i].empty() && !(scans_[i].front().tensor.shape == view.shape))
        throw Error(Code::kInvalidArgument, "scan output ", i, " changes its shape from ",
                    scans_[i].front().tensor.shape, " to ", view.shape, " at iteration ", trip)
            .AtNode(step_.node->op->name, step_.node->name);
      frame_.scope.reservations.push_back(frame_.scope.engine.budget()->Reserve(view.Bytes(), "a Loop's scan output"));
      scans_[i].push_back(CopyElement(view));
    }
    return go;
  }

  void Carry(size_t i) {
    const int slot = body_.outputs[i + 1];
    if (!child_.objects.empty()) objects_[i] = child_.objects[slot];
    carried_[i] = KeepForNext(child_, slot);
  }

  void GiveCarried(size_t i) {
    const int slot = i < step_.outputs.size() ? step_.outputs[i] : -1;
    if (slot < 0) return;
    if (frame_.plan.slots[slot].storage == Storage::kObject) {
      frame_.objects[slot] = objects_[i];
      return;
    }
    frame_.Take(slot, carried_[i].shape);
    CopyElements(carried_[i], frame_.views[slot]);
  }

  void GiveScan(size_t i) {
    const size_t output = carried_.size() + i;
    const int slot = output < step_.outputs.size() ? step_.outputs[output] : -1;
    if (slot < 0) return;
    const auto& parts = scans_[i];
    Shape shape{static_cast<int64_t>(parts.size())};
    if (!parts.empty()) {
      for (int64_t dim : parts.front().tensor.shape) shape.push_back(dim);
    } else if (const auto& known = body_.slots[body_.outputs[1 + output]].value->type.shape) {
      for (const Dim& dim : *known) shape.push_back(dim.IsConst() ? dim.Const() : 0);
    }
    frame_.Take(slot, shape);
    TensorView to = frame_.views[slot];
    for (const SequenceElement& part : parts) {
      const TensorView target{to.data, to.dtype, part.tensor.shape};
      CopyElements(part.tensor, target);
      to.data = static_cast<std::byte*>(to.data) + part.tensor.Bytes();
    }
  }

  Frame& frame_;
  const Step& step_;
  const Plan& body_;
  Arena arenas_[2];
  Frame child_;
  int64_t trip_ = 0;
  bool condition_ = true;
  std::vector<TensorView> carried_;
  std::vector<ObjectValue> objects_;
  std::vector<std::vector<SequenceElement>> scans_;
};

}  // namespace

void ExecuteLoop(Frame& frame, const Step& step) {
  CheckDepth(frame, step);
  LoopRun(frame, step).Run();
}

}  // namespace ziggurat
