#include "runtime/evaluator.h"

#include "ops/infer.h"
#include "runtime/kernel_site.h"

namespace ziggurat {
namespace {

using Constants = std::vector<std::shared_ptr<Constant>>;

// The outputs of one node: types by inference on the inputs' values, memory when it is asked for.
class Evaluation {
 public:
  Evaluation(Engine& engine, const Node& node, const Constants& inputs) : engine_(engine), node_(node) {
    // As in a run: an encoded tensor is its bytes under the type and shape of its elements.
    for (const auto& input : inputs)
      inputs_.push_back(input ? TensorView{input->View().data, input->dtype(), input->shape()} : TensorView{});
    inputs_.resize(node.inputs.size());
  }

  Constants Run() {
    StoreSite site(node_, engine_.weights());
    const auto kernel = engine_.cpu().FindKernel(site);
    if (!kernel) throw Error(Code::kUnsupported, "no kernel computes it at load").AtNode(node_.op->name, node_.name);
    TakeInferred();
    const Team team(engine_.thread_pool(), engine_.threads());
    const size_t scratch_bytes = kernel->ScratchBytes(inputs_, outputs_, team.size());
    const Buffer scratch = engine_.memory()->Allocate(scratch_bytes);
    auto allocate = [this](int output, const Shape& shape) { Take(output, shape); };
    KernelContext context{.inputs = inputs_,
                          .outputs = outputs_,
                          .input_objects = {},
                          .output_objects = {},
                          .scratch = scratch.data(),
                          .team = team,
                          .allocate = allocate};
    engine_.cpu().NewStream()->Launch(*kernel, context, node_);
    return std::move(results_);
  }

 private:
  void TakeInferred() {
    InferContext context(node_, inputs_);
    node_.op->infer(context);
    outputs_.resize(node_.outputs.size());
    results_.resize(node_.outputs.size());
    for (size_t o = 0; o < outputs_.size(); ++o) {
      if (!node_.outputs[o]) continue;
      const Type& type = context.output_types[o];
      if (!type.IsTensor()) throw Error(Code::kUnsupported, "only tensors are computed at load");
      outputs_[o].dtype = type.dtype;
      if (!context.kernel_sets_shape && type.IsStatic()) Take(static_cast<int>(o), type.StaticShape());
    }
  }

  void Take(int output, const Shape& shape) {
    if (!node_.outputs[output]) return;
    const size_t bytes = TensorView{nullptr, outputs_[output].dtype, shape}.Bytes();
    // A constant, so that it does not depend on the machine which nodes are folded.
    constexpr size_t kMost = size_t{1} << 30;
    if (bytes > kMost)
      throw Error(Code::kUnsupported, "what takes ", FormatBytes(bytes), " is not computed at load")
          .AtNode(node_.op->name, node_.name);
    // Reserved for a moment, so that folding cannot ask for what the engine may not have.
    engine_.budget()->Reserve(bytes, "folding a constant");
    results_[output] = Constant::Zeros(outputs_[output].dtype, shape);
    outputs_[output] = results_[output]->View();
  }

  Engine& engine_;
  const Node& node_;
  std::vector<TensorView> inputs_, outputs_;
  Constants results_;
};

}  // namespace

Evaluator MakeEvaluator(Engine& engine) {
  return [&engine](const Node& node, const Constants& inputs) { return Evaluation(engine, node, inputs).Run(); };
}

}  // namespace ziggurat
