#include "cpu/kernel_table.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {

extern const KernelTable kTable;
const KernelTable kTable = {};

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
