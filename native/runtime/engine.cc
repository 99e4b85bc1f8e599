#include "runtime/engine.h"

#include <cmath>

#include "cpu/device.h"
#include "device/registry.h"

namespace ziggurat {
namespace {

ThreadBudget ChooseThreads(const EngineOptions& options) {
  if (options.threads < 0 || options.threads > ThreadPool::kMaxThreads)
    throw Error(Code::kInvalidArgument, "threads must be between 1 and ", ThreadPool::kMaxThreads,
                ", or 0 for all, not ", options.threads);
  ThreadBudget budget = DetectThreads();
  if (options.threads > 0) {
    budget.threads = options.threads;
    budget.reason = Cat(options.threads, ": asked for");
  } else if (budget.quota < budget.cores && budget.threads < budget.quota) {
    budget.reason += Cat(", so ", ++budget.threads, " threads, one of them for a part of the time");
  }
  return budget;
}

size_t ChooseLimit(const EngineOptions& options) {
  return options.memory_limit ? options.memory_limit : DetectMemoryLimit() / 10 * 9;
}

}  // namespace

Engine::Engine(const EngineOptions& options) : Engine(options, ChooseThreads(options)) {}

Engine::Engine(const EngineOptions& options, const ThreadBudget& budget)
    : table_(cpu::SelectKernels(options.isa)),
      threads_reason_(budget.reason),
      pool_(budget.threads),
      watch_(budget.threads, options.threads == 0),
      memory_(Pool::Make(ChooseLimit(options) / 4)),
      budget_(std::make_shared<Budget>(ChooseLimit(options))),
      weights_(memory_, budget_) {
  devices_.push_back(cpu::MakeCpuDevice(table_));
  devices_.push_back(MakeReferenceDevice());
}

ThreadPool::Lease Engine::Admit(std::optional<std::chrono::steady_clock::time_point> deadline,
                                FunctionRef<void()> poll) {
  const auto now = std::chrono::steady_clock::now();
  if (const std::optional<ThreadGrant> grant = watch_.Look(now)) pool_.Grant(*grant);
  const bool hurried = deadline && *deadline < now + std::chrono::milliseconds(10);
  return ThreadPool::Lease(pool_, !hurried, poll);
}

void Engine::CheckProcess() const {
  if (guard_.InChild())
    throw Error(
        Code::kUnavailable,
        "this engine belongs to the process that fork() was called in: make a new Engine, and load models with it, "
        "in the child");
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
