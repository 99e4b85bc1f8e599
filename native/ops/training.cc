// Optimiser steps (domain ai.onnx.preview.training), all of which are arithmetic.
#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

// After R and T come `inputs_per` lists of n tensors; the outputs are the first list and those from the third on.
int TensorCount(const InferContext& c, int inputs_per) {
  const int tensors = c.num_inputs() - 2;
  if (tensors % inputs_per != 0) c.Fail("has ", tensors, " tensors, expected a multiple of ", inputs_per);
  return tensors / inputs_per;
}

void InferOptimizer(InferContext& c, int inputs_per) {
  for (int i : {0, 1}) c.ExpectRank(i, 0, 1);
  const int count = TensorCount(c, inputs_per);
  if (c.num_outputs() != count * (inputs_per - 1))
    c.Fail("has ", c.num_outputs(), " outputs, expected ", count * (inputs_per - 1));
  for (int i = 0; i < c.num_outputs(); ++i) c.CopyType(i < count ? 2 + i : 2 + count + i, i);
}

void InferThree(InferContext& c) { InferOptimizer(c, 3); }
void InferFour(InferContext& c) { InferOptimizer(c, 4); }

Value* Times(Expander& e, Value* x, double factor) { return e.Op("Mul", {x, e.ScalarLike(x, factor)}); }
Value* Plus(Expander& e, Value* x, double term) { return e.Op("Add", {x, e.ScalarLike(x, term)}); }

// The gradient with the regularisation's share.
Value* Regularised(Expander& e, Value* x, Value* gradient) {
  return e.Op("Add", {Times(e, x, e.node().Float("norm_coefficient")), gradient});
}

Value* Scalar(Expander& e, int input, DType dtype) { return e.Cast(e.Reshape(e.In(input), {}), dtype); }

void ExpandAdagrad(Expander& e) {
  const int count = static_cast<int>(e.node().inputs.size() - 2) / 3;
  for (int i = 0; i < count; ++i) {
    Value *x = e.In(2 + i), *sum = e.In(2 + 2 * count + i);
    const DType dtype = x->type.dtype;
    Value* slowed = Plus(e, Times(e, Scalar(e, 1, dtype), e.node().Float("decay_factor")), 1);
    Value* rate = e.Op("Div", {Scalar(e, 0, dtype), slowed});
    Value* gradient = Regularised(e, x, e.In(2 + count + i));
    sum = e.Op("Add", {sum, e.Op("Mul", {gradient, gradient})});
    Value* step = e.Op("Div", {e.Op("Mul", {rate, gradient}), Plus(e, e.Op("Sqrt", {sum}), e.node().Float("epsilon"))});
    e.Return(i, e.Op("Sub", {x, step}));
    e.Return(count + i, sum);
  }
}

// The rate, corrected for averages that began at zero; in double, because both powers are close to 1.
Value* CorrectedRate(Expander& e) {
  const DType wide = DType::kFloat64;
  Value *rate = Scalar(e, 0, wide), *turn = Scalar(e, 1, wide);
  auto left = [&](double factor) {
    return e.Op("Sub", {e.Scalar(wide, 1), e.Op("Pow", {e.Scalar(wide, factor), turn})});
  };
  Value* corrected =
      e.Op("Div", {e.Op("Mul", {rate, e.Op("Sqrt", {left(e.node().Float("beta"))})}), left(e.node().Float("alpha"))});
  return e.Op("Where", {e.Op("Greater", {turn, e.Scalar(wide, 0)}), corrected, rate});
}

void ExpandAdam(Expander& e) {
  const Node& node = e.node();
  const int count = static_cast<int>(node.inputs.size() - 2) / 4;
  const double alpha = node.Float("alpha"), beta = node.Float("beta");
  Value* rate = CorrectedRate(e);
  for (int i = 0; i < count; ++i) {
    Value* x = e.In(2 + i);
    Value* gradient = Regularised(e, x, e.In(2 + count + i));
    Value* mean = e.Op("Add", {Times(e, e.In(2 + 2 * count + i), alpha), Times(e, gradient, 1 - alpha)});
    Value* square = e.Op("Mul", {gradient, gradient});
    Value* spread = e.Op("Add", {Times(e, e.In(2 + 3 * count + i), beta), Times(e, square, 1 - beta)});
    Value* step = e.Op("Div", {mean, Plus(e, e.Op("Sqrt", {spread}), node.Float("epsilon"))});
    x = e.Op("Sub", {x, e.Op("Mul", {e.Cast(rate, x->type.dtype), step})});
    e.Return(i, Times(e, x, 1 - static_cast<double>(node.Float("norm_coefficient_post"))));
    e.Return(count + i, mean);
    e.Return(2 * count + i, spread);
  }
}

void ExpandMomentum(Expander& e) {
  const Node& node = e.node();
  const int count = static_cast<int>(node.inputs.size() - 2) / 3;
  const float alpha = node.Float("alpha");
  Value* later = e.Op("Greater", {Scalar(e, 1, DType::kInt64), e.Int(0)});
  for (int i = 0; i < count; ++i) {
    Value* x = e.In(2 + i);
    Value* gradient = Regularised(e, x, e.In(2 + count + i));
    Value* factor = e.Op("Where", {later, e.ScalarLike(x, node.Float("beta")), e.ScalarLike(x, 1)});
    Value* speed = e.Op("Add", {Times(e, e.In(2 + 2 * count + i), alpha), e.Op("Mul", {factor, gradient})});
    Value* step = node.String("mode") == "nesterov" ? e.Op("Add", {gradient, Times(e, speed, alpha)}) : speed;
    e.Return(i, e.Op("Sub", {x, e.Op("Mul", {Scalar(e, 0, x->type.dtype), step})}));
    e.Return(count + i, speed);
  }
}

void InferMomentum(InferContext& c) {
  Choice(c, "mode", {"standard", "nesterov"});
  InferThree(c);
}

constexpr DTypeSet kRates = SetOf({DType::kFloat32, DType::kFloat64});

}  // namespace

constexpr OpDef kOp_TrainingAdagrad = {
    .name = "Adagrad",
    .domain = "ai.onnx.preview.training",
    .inputs = {{"R", kRates}, {"T", kInt64s}, {"inputs", kRates, 0, Param::kMany, Param::kTensor, 3}},
    .max_outputs = -1,
    .attributes = {attr::Float("decay_factor", 0.0f), attr::Float("epsilon", 1e-6f),
                   attr::Float("norm_coefficient", 0.0f)},
    .infer = InferThree,
    .expand = ExpandAdagrad,
};
constexpr OpDef kOp_TrainingAdam = {
    .name = "Adam",
    .domain = "ai.onnx.preview.training",
    .inputs = {{"R", kRates}, {"T", kInt64s}, {"inputs", kRates, 0, Param::kMany, Param::kTensor, 4}},
    .max_outputs = -1,
    .attributes = {attr::Float("alpha", 0.9f), attr::Float("beta", 0.999f), attr::Float("epsilon", 1e-6f),
                   attr::Float("norm_coefficient", 0.0f), attr::Float("norm_coefficient_post", 0.0f)},
    .infer = InferFour,
    .expand = ExpandAdam,
};
constexpr OpDef kOp_TrainingMomentum = {
    .name = "Momentum",
    .domain = "ai.onnx.preview.training",
    .inputs = {{"R", kRates}, {"T", kInt64s}, {"inputs", kRates, 0, Param::kMany, Param::kTensor, 3}},
    .max_outputs = -1,
    .attributes = {attr::Required(attr::Float("alpha")), attr::Required(attr::Float("beta")),
                   attr::Required(attr::String("mode")), attr::Required(attr::Float("norm_coefficient"))},
    .infer = InferMomentum,
    .expand = ExpandMomentum,
};

}  // namespace ziggurat
