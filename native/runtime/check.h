// Compares what each step of a run computes with what its op means: the same op on the same inputs, expanded into
// primitives on the reference device.
#pragma once

#include <string>
#include <vector>

#include "runtime/model.h"

namespace ziggurat {

struct StepCheck {
  std::string op, node, kernel;
  double distance = 0;  // largest difference as a part of the largest magnitude; infinite: type or shape differ
  std::string problem;  // why it was not compared; empty: it was
};

// In the order of execution, iterations of loops one after the other. The model must be on the CPU and have kept its
// constants (ModelOptions::keep_constants); steps with other values than numeric tensors are not compared.
std::vector<StepCheck> CheckSteps(const Model& model, RunRequest request);

}  // namespace ziggurat
