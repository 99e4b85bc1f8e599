// What fused ops add to their product or convolution (ops/fused.cc), read into an Epilogue.
#pragma once

#include "cpu/kernel_table.h"
#include "ir/graph.h"

namespace ziggurat::cpu {

// Sets the activation: function and params, or bounds. False: an activation that no kernel computes.
bool ReadActivation(const Node& node, const KernelTable& table, Epilogue& epilogue);

}  // namespace ziggurat::cpu
