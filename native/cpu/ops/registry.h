// How the CPU device finds its kernels: each op family offers a list of factories, kFamilies joins them.
//
// Adding kernels for an op: write a factory in cpu/ops/<family>.cc, name it in that family's list. A factory looks at
// the node's types and attributes and returns a prepared kernel, or null to let the next one (in the end the plain
// kernels) try.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "cpu/kernel_table.h"
#include "device/device.h"

namespace ziggurat::cpu {

using KernelFactory = std::unique_ptr<Kernel> (*)(KernelSite& site, const KernelTable& table);

struct KernelEntry {
  std::string_view op;
  KernelFactory make;
  std::string_view domain = "";
};

using KernelFamily = std::span<const KernelEntry> (*)();

// One declaration a family; its definition lives in cpu/ops/<family>.cc.
// (cpu/device.cc lists them in order of preference.)

}  // namespace ziggurat::cpu
