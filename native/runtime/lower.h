// Gives every node of a graph a device and a kernel; expands ops that have no kernel until all have one.
#pragma once

#include <memory>
#include <unordered_map>

#include "runtime/plan.h"

namespace ziggurat {

struct Placement {
  int device = 0;  // 0: the CPU, 1: the wanted device where that is another
  std::unique_ptr<Kernel> kernel;
};
// Nodes of subgraphs included; views and control flow, which need no kernel, are not.
using Placements = std::unordered_map<const Node*, Placement>;

Placements Lower(Graph& graph, const PlanOptions& options);

// True where the step is nothing but another look at its first input's bytes.
bool IsView(const Node& node);

}  // namespace ziggurat
