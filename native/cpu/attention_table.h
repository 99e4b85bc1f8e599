// The attention kernels of an instruction set. They lie beside the KernelTable, not in it: they are used by one file,
// and everything that plans or runs includes the table.
#pragma once

#include "cpu/kernel_table.h"
#include "cpu/kernels/attention.h"

namespace ziggurat::cpu {

const AttentionKernels& AttentionOf(const KernelTable& table);

}  // namespace ziggurat::cpu
