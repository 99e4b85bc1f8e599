// Branches of a plan that run side by side: neighbouring steps, each too small to be split over all workers, that fall
// into groups which do not touch each other's memory. One worker walks a branch; results are the same bits.
#pragma once

#include <vector>

#include "runtime/plan.h"

namespace ziggurat {

struct Branches {
  int first = 0, last = 0;              // steps [first, last) of the plan
  std::vector<std::vector<int>> lists;  // of steps, each in order; the longest to run first
  std::vector<size_t> scratch;          // by list: where its own begins
};

// Those of `plan` that pay with `workers` workers, where slots have the shapes of `views`. They depend on the plan, the
// shapes and the number of workers alone. In order; they do not overlap. Whoever runs them must keep the memory of all
// that lives at some step of [first, last) for all of them.
std::vector<Branches> FindBranches(const Plan& plan, const std::vector<TensorView>& views, int workers);

}  // namespace ziggurat
