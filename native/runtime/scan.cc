// Scan: walks inputs element by element along an axis, and stacks what each iteration gives.
#include <algorithm>

#include "runtime/child_frame.h"

namespace ziggurat {
namespace {

size_t ElementBytes(DType dtype) {
  return dtype == DType::kString ? sizeof(std::string) : std::max<size_t>(ByteSize(dtype), 1);
}

// A tensor cut along one axis: `outer` runs of `run` bytes belong to each index, `step` bytes apart.
struct Cut {
  int64_t outer = 0;
  size_t run = 0, step = 0;

  Cut(const TensorView& view, int axis) {
    const int64_t inner = view.shape.Count(axis + 1, view.shape.rank());
    outer = view.shape.Count(0, axis);
    run = static_cast<size_t>(inner) * ElementBytes(view.dtype);
    step = run * static_cast<size_t>(view.shape[axis]);
  }
};

std::byte* Bytes(const TensorView& view, size_t offset) { return static_cast<std::byte*>(view.data) + offset; }

Shape Without(const Shape& shape, int axis) {
  Shape out;
  for (int i = 0; i < shape.rank(); ++i)
    if (i != axis) out.push_back(shape[i]);
  return out;
}

// One run, as a tensor of its own, so that strings are copied as such.
TensorView Run(const TensorView& of, const Cut& cut, std::byte* at) {
  return {at, of.dtype, Shape{static_cast<int64_t>(cut.run / ElementBytes(of.dtype))}};
}

// Element `index` of `from` along `axis`, copied to dense memory, and back.
void CopyOut(const TensorView& from, int axis, int64_t index, const TensorView& to) {
  const Cut cut(from, axis);
  for (int64_t o = 0; o < cut.outer; ++o)
    CopyElements(Run(from, cut, Bytes(from, o * cut.step + index * cut.run)), Run(to, cut, Bytes(to, o * cut.run)));
}

void CopyIn(const TensorView& from, const TensorView& to, int axis, int64_t index) {
  const Cut cut(to, axis);
  for (int64_t o = 0; o < cut.outer; ++o)
    CopyElements(Run(from, cut, Bytes(from, o * cut.run)), Run(to, cut, Bytes(to, o * cut.step + index * cut.run)));
}

class ScanRun {
 public:
  ScanRun(Frame& frame, const Step& step)
      : frame_(frame),
        step_(step),
        body_(*step.subplans[0]),
        arenas_{Arena(frame.scope.engine.memory(), frame.scope.engine.budget()),
                Arena(frame.scope.engine.memory(), frame.scope.engine.budget())},
        child_(body_, frame.scope, &frame, arenas_[0]),
        scans_(static_cast<size_t>(step.node->Int("num_scan_inputs"))),
        states_(step.inputs.size() - scans_),
        input_axes_(scans_),
        output_axes_(body_.outputs.size() - states_.size()) {}

  void Run() {
    BindOuter(child_, frame_);
    for (size_t i = 0; i < states_.size(); ++i) states_[i] = frame_.views[step_.inputs[i]];
    const int64_t length = Length();
    for (int64_t trip = 0; trip < length; ++trip) {
      frame_.scope.limits.Poll();
      Iterate(trip, length);
    }
    for (size_t i = 0; i < states_.size(); ++i)
      if (const int slot = Output(i); slot >= 0) {
        frame_.Take(slot, states_[i].shape);
        CopyElements(states_[i], frame_.views[slot]);
      }
    if (length == 0)
      for (size_t i = 0; i < output_axes_.size(); ++i) TakeStack(i, EmptyElement(i), 0);
  }

 private:
  [[noreturn]] void Fail(const std::string& what) const {
    throw Error(Code::kInvalidArgument, what).AtNode(step_.node->op->name, step_.node->name);
  }
  int Output(size_t i) const { return i < step_.outputs.size() ? step_.outputs[i] : -1; }
  const TensorView& Scanned(size_t i) const { return frame_.views[step_.inputs[states_.size() + i]]; }
  // Attribute `name`'s value for the i-th scanned input or stacked output; 0 by default.
  int64_t Attribute(std::string_view name, size_t i) const {
    const std::vector<int64_t> values = step_.node->Ints(name);
    return i < values.size() ? values[i] : 0;
  }
  int Axis(std::string_view name, size_t i, int rank) const {
    const int64_t axis = Attribute(name, i);
    if (axis < -rank || axis >= rank) Fail(Cat(name, " ", axis, " is out of range for rank ", rank));
    return static_cast<int>(axis < 0 ? axis + rank : axis);
  }

  int64_t Length() {
    int64_t length = 0;
    for (size_t i = 0; i < scans_; ++i) {
      const TensorView& view = Scanned(i);
      input_axes_[i] = Axis("scan_input_axes", i, view.shape.rank());
      const int64_t extent = view.shape[input_axes_[i]];
      if (i > 0 && extent != length) Fail(Cat("scanned inputs have lengths ", length, " and ", extent));
      length = extent;
    }
    return length;
  }

  void Iterate(int64_t trip, int64_t length) {
    child_.arena = &arenas_[trip % 2];
    child_.arena->Reset();
    for (size_t i = 0; i < states_.size(); ++i) child_.views[body_.inputs[i]] = states_[i];
    for (size_t i = 0; i < scans_; ++i) {
      const bool backwards = Attribute("scan_input_directions", i) != 0;
      child_.views[body_.inputs[states_.size() + i]] = Slice(i, backwards ? length - 1 - trip : trip);
    }
    Execute(child_);
    frame_.scope.Synchronize();
    for (size_t i = 0; i < states_.size(); ++i) {
      const TensorView next = KeepForNext(child_, body_.outputs[i]);
      if (!(next.shape == states_[i].shape))
        Fail(Cat("state ", i, " changes its shape from ", states_[i].shape, " to ", next.shape));
      states_[i] = next;
    }
    for (size_t i = 0; i < output_axes_.size(); ++i) {
      const int slot = Output(states_.size() + i);
      if (slot < 0) continue;
      const TensorView& element = child_.views[body_.outputs[states_.size() + i]];
      if (trip == 0) TakeStack(i, element.shape, length);
      const TensorView& stack = frame_.views[slot];
      if (!(element.shape == Without(stack.shape, output_axes_[i])))
        Fail(Cat("scan output ", i, " changes its shape to ", element.shape, " at iteration ", trip));
      const bool backwards = Attribute("scan_output_directions", i) != 0;
      CopyIn(element, stack, output_axes_[i], backwards ? length - 1 - trip : trip);
    }
  }

  // Along the first axis an element lies as one run already.
  TensorView Slice(size_t i, int64_t index) {
    const TensorView& view = Scanned(i);
    const int axis = input_axes_[i];
    TensorView slice{nullptr, view.dtype, Without(view.shape, axis)};
    const Cut cut(view, axis);
    if (cut.outer == 1) {
      slice.data = Bytes(view, index * cut.run);
    } else {
      if (view.dtype == DType::kString) {
        SequenceElement own = NewElement(view.dtype, slice.shape);
        slice.data = own.tensor.data;
        strings_.push_back(std::move(own.storage));
      } else {
        slice.data = child_.arena->Allocate(slice.Bytes());
      }
      CopyOut(view, axis, index, slice);
    }
    return slice;
  }

  void TakeStack(size_t i, const Shape& element, int64_t length) {
    const int slot = Output(states_.size() + i);
    if (slot < 0) return;
    const int axis = Axis("scan_output_axes", i, element.rank() + 1);
    Shape shape;
    for (int a = 0; a <= element.rank(); ++a) {
      if (a == axis) shape.push_back(length);
      if (a < element.rank()) shape.push_back(element[a]);
    }
    output_axes_[i] = axis;
    frame_.Take(slot, shape);
  }

  // What is known of an element that was never computed: extents that only running would tell are zero.
  Shape EmptyElement(size_t i) const {
    Shape shape;
    if (const auto& known = body_.slots[body_.outputs[states_.size() + i]].value->type.shape)
      for (const Dim& dim : *known) shape.push_back(dim.IsConst() ? dim.Const() : 0);
    return shape;
  }

  Frame& frame_;
  const Step& step_;
  const Plan& body_;
  Arena arenas_[2];
  Frame child_;
  size_t scans_;
  std::vector<TensorView> states_;
  std::vector<int> input_axes_, output_axes_;
  std::vector<std::shared_ptr<void>> strings_;
};

}  // namespace

void ExecuteScan(Frame& frame, const Step& step) {
  CheckDepth(frame, step);
  ScanRun(frame, step).Run();
}

}  // namespace ziggurat
