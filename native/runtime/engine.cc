#include "runtime/engine.h"

#include "cpu/device.h"
#include "device/registry.h"

namespace ziggurat {
namespace {

ThreadBudget ChooseThreads(const EngineOptions& options) {
  if (options.threads < 0 || options.threads > ThreadPool::kMaxThreads)
    throw Error(Code::kInvalidArgument, "threads must be between 1 and ", ThreadPool::kMaxThreads,
                ", or 0 for all, not ", options.threads);
  if (options.threads > 0) return {options.threads, Cat(options.threads, ": asked for")};
  return DetectThreads();
}

size_t ChooseLimit(const EngineOptions& options) {
  return options.memory_limit ? options.memory_limit : DetectMemoryLimit() / 10 * 9;
}

}  // namespace

Engine::Engine(const EngineOptions& options)
    : table_(cpu::SelectKernels(options.isa)),
      threads_reason_(ChooseThreads(options).reason),
      pool_(ChooseThreads(options).threads),
      memory_(Pool::Make(ChooseLimit(options) / 4)),
      budget_(std::make_shared<Budget>(ChooseLimit(options))),
      weights_(memory_, budget_) {
  devices_.push_back(cpu::MakeCpuDevice(table_));
  devices_.push_back(MakeReferenceDevice());
}

Device& Engine::device(std::string_view name) {
  if (name == "auto") return cpu();
  std::string known = "auto";
  for (const auto& device : devices_) {
    if (device->name() == name) return *device;
    known += Cat(", ", device->name());
  }
  throw Error(Code::kInvalidArgument, "no device '", name, "'; this engine has ", known);
}

}  // namespace ziggurat
