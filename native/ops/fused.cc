#include "ops/fused.h"

namespace ziggurat {

Value* ExpandActivation(Expander& e, Value* x) {
  const std::string name = e.node().String("activation");
  const float alpha = e.node().Float("activation_alpha"), beta = e.node().Float("activation_beta");
  if (name.empty()) return x;
  if (name == "relu") return e.Op("Relu", {x});
  if (name == "leaky_relu") return e.Op("LeakyRelu", {x}, {{"alpha", alpha}});
  if (name == "clip") return e.Op("Clip", {x, e.ScalarLike(x, alpha), e.ScalarLike(x, beta)});
  if (name == "sigmoid") return e.Op("Sigmoid", {x});
  if (name == "hard_sigmoid") return e.Op("HardSigmoid", {x}, {{"alpha", alpha}, {"beta", beta}});
  if (name == "tanh") return e.Op("Tanh", {x});
  if (name == "silu") return e.Op("Swish", {x}, {{"alpha", 1.0f}});
  if (name == "hard_swish") return e.Op("HardSwish", {x});
  if (name == "gelu_erf") return e.Op("Gelu", {x}, {{"approximate", std::string("none")}});
  if (name == "gelu_tanh") return e.Op("Gelu", {x}, {{"approximate", std::string("tanh")}});
  e.Fail("activation '", name, "' is not one that fused ops know");
}

}  // namespace ziggurat
