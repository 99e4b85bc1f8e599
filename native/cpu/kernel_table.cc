#include "cpu/kernel_table.h"

#include <algorithm>
#include <array>

#include "base/cpu_info.h"
#include "base/error.h"

namespace ziggurat::cpu {

#if defined(__x86_64__)
namespace sse42 {
extern const KernelTable kTable;
}
namespace avx2 {
extern const KernelTable kTable;
}
namespace avx512 {
extern const KernelTable kTable;
}
namespace avx512vnni {
extern const KernelTable kTable;
}
#endif

namespace {

// Weakest first, as base/cpu_info.h lists them.
std::vector<const KernelTable*> BuiltTables() {
#if defined(__x86_64__)
  return {&sse42::kTable, &avx2::kTable, &avx512::kTable, &avx512vnni::kTable};
#else
  return {};
#endif
}

std::vector<const KernelTable*> UsableTables() {
  const CpuInfo cpu = DetectCpu();
  std::vector<const KernelTable*> usable;
  for (const KernelTable* table : BuiltTables())
    if (std::find(cpu.isas.begin(), cpu.isas.end(), table->isa) != cpu.isas.end()) usable.push_back(table);
  return usable;
}

}  // namespace

std::vector<std::string_view> UsableIsas() {
  std::vector<std::string_view> names;
  for (const KernelTable* table : UsableTables()) names.push_back(table->isa);
  return names;
}

const KernelTable& SelectKernels(const std::optional<std::string>& isa) {
  const std::vector<const KernelTable*> usable = UsableTables();
  if (usable.empty()) throw Error(Code::kUnsupported, "this CPU is below every kernel set of this build (sse42)");
  if (!isa) return *usable.back();
  std::string names;
  for (const KernelTable* table : usable) {
    if (*isa == table->isa) return *table;
    names += Cat(names.empty() ? "" : ", ", table->isa);
  }
  bool built = false;
  for (const KernelTable* table : BuiltTables()) built |= *isa == table->isa;
  throw Error(Code::kInvalidArgument, "isa '", *isa, "' ", built ? "cannot run on this CPU" : "is unknown",
              "; valid here: ", names);
}

}  // namespace ziggurat::cpu
