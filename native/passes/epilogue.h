// What may follow a product inside its kernel: + bias, + residual, activation, in this order.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "ir/graph.h"

namespace ziggurat {

// An activation as the fused ops' attributes name it.
struct Activation {
  std::string name;
  float alpha = 0, beta = 0;  // leaky_relu: slope; clip: bounds; hard_sigmoid: scale and offset; swish: factor inside
};

// The activation that the node applies to its first input, if the fused ops know it.
std::optional<Activation> ActivationOf(const Node& node);

// The elements of a constant that varies along `axis` of `shape` only (a single element is repeated), as a constant of
// rank 1; null where it does not broadcast that way.
std::shared_ptr<Constant> AlongAxis(const Value* value, const std::vector<Dim>& shape, int axis);

// The nodes that follow `producer` one after the other, each the only user of what precedes it.
struct Epilogue {
  std::shared_ptr<Constant> bias;
  Value* residual = nullptr;
  std::optional<Activation> activation;
  Node* last = nullptr;  // the last node taken in; `producer` itself where there is none
  bool changed = false;
};

// Bias is looked for along `bias_axis` unless that is -1.
Epilogue FollowEpilogue(Node& producer, int bias_axis);

// Adds activation, activation_alpha and activation_beta.
void SetActivation(Attributes& attributes, const Activation& activation);

}  // namespace ziggurat
