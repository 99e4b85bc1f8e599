// The CPU device: the instruction set's kernels first, plain kernels for the rest; its stream runs inline.
#pragma once

#include <memory>

#include "cpu/kernel_table.h"
#include "device/device.h"

namespace ziggurat::cpu {

std::unique_ptr<Device> MakeCpuDevice(const KernelTable& table);

}  // namespace ziggurat::cpu
