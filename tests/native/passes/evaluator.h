// A few ops computed plainly, so that folding can be tested without a device.
#pragma once

#include <vector>

#include "base/error.h"
#include "passes/pass.h"

namespace ziggurat::test {

inline std::vector<std::shared_ptr<Constant>> EvaluateForTests(const Node& node,
                                                               const std::vector<std::shared_ptr<Constant>>& inputs) {
  if (node.op->Is("Add") && inputs[0]->dtype() == DType::kFloat32 && inputs[0]->shape() == inputs[1]->shape()) {
    auto out = Constant::Zeros(DType::kFloat32, inputs[0]->shape());
    const TensorView a = inputs[0]->View(), b = inputs[1]->View(), y = out->View();
    for (int64_t i = 0; i < y.Count(); ++i) y.As<float>()[i] = a.As<float>()[i] + b.As<float>()[i];
    return {out};
  }
  if (node.op->Is("Greater") && inputs[0]->dtype() == DType::kFloat32 && inputs[0]->shape().rank() == 0) {
    auto out = Constant::Zeros(DType::kBool, Shape{});
    *out->View().As<bool>() = *inputs[0]->View().As<float>() > *inputs[1]->View().As<float>();
    return {out};
  }
  if (node.op->Is("DequantizeLinear") && inputs.size() == 2 && inputs[0]->dtype() == DType::kInt32 &&
      inputs[0]->shape() == inputs[1]->shape()) {
    auto out = Constant::Zeros(DType::kFloat32, inputs[0]->shape());
    const TensorView x = inputs[0]->View(), scale = inputs[1]->View(), y = out->View();
    for (int64_t i = 0; i < y.Count(); ++i)
      y.As<float>()[i] = static_cast<float>(x.As<int32_t>()[i]) * scale.As<float>()[i];
    return {out};
  }
  throw Error(Code::kUnsupported, "the tests' evaluator has no ", node.op->name);
}

}  // namespace ziggurat::test
