#include "runtime/check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "tensor/half.h"

namespace ziggurat {
namespace {

template <typename T>
std::vector<double> Cast(const TensorView& view) {
  const T* from = view.As<const T>();
  return std::vector<double>(from, from + view.Count());
}
std::vector<double> Halves(const TensorView& view, float (*widen)(uint16_t)) {
  std::vector<double> out;
  for (int64_t i = 0; i < view.Count(); ++i) out.push_back(widen(view.As<const uint16_t>()[i]));
  return out;
}

// Elements of the types that hold numbers; the others are compared byte by byte.
std::vector<double> Numbers(const TensorView& view) {
  switch (view.dtype) {
    case DType::kFloat32:
      return Cast<float>(view);
    case DType::kFloat64:
      return Cast<double>(view);
    case DType::kFloat16:
      return Halves(view, [](uint16_t bits) { return Float16ToFloat(bits); });
    case DType::kBFloat16:
      return Halves(view, [](uint16_t bits) { return BFloat16ToFloat(bits); });
    case DType::kInt8:
      return Cast<int8_t>(view);
    case DType::kInt16:
      return Cast<int16_t>(view);
    case DType::kInt32:
      return Cast<int32_t>(view);
    case DType::kInt64:
      return Cast<int64_t>(view);
    case DType::kComplex64:
      return Cast<float>({view.data, DType::kFloat32, Shape{2 * view.Count()}});
    case DType::kComplex128:
      return Cast<double>({view.data, DType::kFloat64, Shape{2 * view.Count()}});
    default: {
      const TensorView bytes{view.data, DType::kUint8, Shape{static_cast<int64_t>(view.Bytes())}};
      return Cast<uint8_t>(bytes);
    }
  }
}

double Distance(const TensorView& got, const TensorView& want) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (got.dtype != want.dtype || !(got.shape == want.shape)) return kInfinity;
  const std::vector<double> a = Numbers(got), b = Numbers(want);
  double largest = 0, difference = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    if (std::isfinite(b[i])) largest = std::max(largest, std::fabs(b[i]));
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) return kInfinity;
    difference = std::max(difference, std::fabs(a[i] - b[i]));
  }
  return difference == 0 ? 0 : difference / (largest > 0 ? largest : 1);
}

class Checker : public StepWatch {
 public:
  explicit Checker(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {}

  std::vector<StepCheck> Take() { return std::move(checks_); }

  // A step may write over what it reads, so its inputs are copied first.
  void Before(const Frame& frame, const Step& step) override {
    inputs_.clear();
    problem_ = Obstacle(frame, step);
    for (size_t i = 0; problem_.empty() && i < step.inputs.size(); ++i) {
      const int slot = step.inputs[i];
      inputs_.push_back(slot < 0 ? nullptr : Copy(frame, slot));
    }
  }

  void After(const Frame& frame, const Step& step) override {
    StepCheck check{std::string(step.node->op->name), step.node->name, std::string(step.kernel->name()), 0, problem_};
    if (problem_.empty()) try {
        Compare(frame, step, check);
      } catch (const Error& error) {
        check.problem = error.message();
      }
    checks_.push_back(std::move(check));
  }

 private:
  static std::string Obstacle(const Frame& frame, const Step& step) {
    if (step.device != 0) return "it ran on another device";
    if (step.has_objects) return "it works on values that are no tensors";
    if (step.node->op->Is(kRandom)) return "it draws random numbers";
    for (const std::vector<int>* slots : {&step.inputs, &step.outputs})
      for (int slot : *slots)
        if (slot >= 0 && frame.plan.slots[slot].value->type.dtype == DType::kString) return "it works on strings";
    return "";
  }

  std::shared_ptr<Constant> Copy(const Frame& frame, int slot) {
    const Value* value = frame.plan.slots[slot].value;
    if (value->IsConstant()) return value->constant;
    const TensorView& view = frame.views[slot];
    if (!view.data && view.Count() > 0) problem_ = "a constant that it packed was not kept";
    return problem_.empty() ? Constant::Copy(view.dtype, view.shape, view.data, view.Bytes()) : nullptr;
  }

  // The op alone, on the reference device.
  void Compare(const Frame& frame, const Step& step, StepCheck& check) {
    auto graph = std::make_shared<Graph>("step");
    std::vector<Value*> inputs;
    for (const auto& input : inputs_) inputs.push_back(input ? graph->AddConstant(input) : nullptr);
    std::vector<std::string> names;
    for (int slot : step.outputs) names.push_back(slot < 0 ? "-" : "");
    Node* node = graph->AddNode(*step.node->op, inputs, step.node->attributes, names, step.node->name);
    for (Value* output : node->outputs)
      if (output) graph->AddOutput(output, output->name);
    ModelOptions options;
    options.device = "reference";
    options.optimize = false;
    const std::vector<Output> want = Model(engine_, graph, options).Run({});
    size_t at = 0;
    for (int slot : step.outputs)
      if (slot >= 0) check.distance = std::max(check.distance, Distance(frame.views[slot], want[at++].view));
  }

  std::shared_ptr<Engine> engine_;
  std::vector<std::shared_ptr<Constant>> inputs_;
  std::string problem_;
  std::vector<StepCheck> checks_;
};

}  // namespace

std::vector<StepCheck> CheckSteps(const Model& model, RunRequest request) {
  Checker checker(model.engine());
  request.watch = &checker;
  model.Run(request);
  return checker.Take();
}

}  // namespace ziggurat
