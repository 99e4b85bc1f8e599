// What our fused ops share: an activation as attributes, applied last.
//
//   activation         "" (none), relu, leaky_relu, clip, sigmoid, hard_sigmoid, tanh, silu, hard_swish, gelu_erf,
//                      gelu_tanh
//   activation_alpha   leaky_relu: the slope below zero; clip: the lower bound; hard_sigmoid: the factor
//   activation_beta    clip: the upper bound; hard_sigmoid: the offset
#pragma once

#include "ops/expander.h"

namespace ziggurat {

#define ZIGGURAT_ACTIVATION_ATTRIBUTES \
  attr::String("activation", ""), attr::Float("activation_alpha", 0.0f), attr::Float("activation_beta", 0.0f)

// The node's activation of `x`. Fails on a name that is not listed above.
Value* ExpandActivation(Expander& e, Value* x);

}  // namespace ziggurat
