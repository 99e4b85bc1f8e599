// The function that an element-wise op of one input runs, for the kernels that need it.
#pragma once

#include "cpu/kernel_table.h"
#include "ir/graph.h"

namespace ziggurat::cpu {

struct UnaryRun {
  UnaryFn run = nullptr;
  ElementParams params;
  bool to_bool = false;
};

// Of the node's op and attributes alone; `run` is null where it is no such op. float32 in.
UnaryRun FindUnaryRun(const Node& node, const KernelTable& table);

}  // namespace ziggurat::cpu
