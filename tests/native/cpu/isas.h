// What the kernel tests loop over: the tables this host can run.
#pragma once

#include <string>
#include <vector>

#include "cpu/kernel_table.h"

namespace ziggurat::test {

inline std::vector<const cpu::KernelTable*> HostTables() {
  std::vector<const cpu::KernelTable*> tables;
  for (std::string_view isa : cpu::UsableIsas()) tables.push_back(&cpu::SelectKernels(std::string(isa)));
  return tables;
}

}  // namespace ziggurat::test
