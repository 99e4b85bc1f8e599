#include "runtime/engine.h"

#include <algorithm>
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

// What is given back ends below the threshold, not at it.
constexpr double kHeld = 0.9;

}  // namespace

Engine::Engine(const EngineOptions& options) : Engine(options, ChooseThreads(options)) {}

Engine::Engine(const EngineOptions& options, const ThreadBudget& budget)
    : table_(cpu::SelectKernels(options.isa)),
      threads_reason_(budget.reason),
      defragment_above_(options.defragment_above),
      pool_(budget.threads),
      watch_(budget.threads, options.threads == 0),
      faults_(std::make_shared<Faults>()),
      memory_(Pool::Make(ChooseLimit(options) / 4, ChooseLimit(options), faults_, options.backing)),
      budget_(std::make_shared<Budget>(ChooseLimit(options), faults_)),
      weights_(memory_, budget_) {
  devices_.push_back(cpu::MakeCpuDevice(table_));
  devices_.push_back(MakeReferenceDevice());
  if (!(options.purge_after >= 0 && options.defragment_above >= 0))
    throw Error(Code::kInvalidArgument, "purge_after and defragment_above must not be negative");
  if (options.purge_after > 0)
    housekeeper_ = std::make_unique<Housekeeper>(std::chrono::duration<double>(options.purge_after / 2),
                                                 [this] { return Tend(); });
}

DefragmentReport Engine::Defragment() {
  DefragmentReport report;
  report.before = memory_->Stats();
  // Twice: moves free what only then is in one piece.
  memory_->Purge();
  weights_.Compact(0);
  memory_->Purge();
  memory_->Trim(defragment_above_ * kHeld);
  memory_->CountDefragmentation(report.before);
  report.after = memory_->Stats();
  for (size_t i = 0; i < report.after.size(); ++i) {
    report.moved += report.after[i].moved - report.before[i].moved;
    report.released += report.after[i].released - report.before[i].released;
  }
  return report;
}

void Engine::CompactIfScattered(const AllPoolStats& before) {
  const PoolStats& weights = before.back();
  // Below this there is nothing to gain that would be worth the moves, and a run's wait for one.
  const size_t worth = std::max<size_t>(256 << 10, weights.used / 128);
  if (weights.fragmentation <= defragment_above_ || weights.cached - weights.largest_free <= worth) return;
  weights_.Compact(defragment_above_ / 2);
  memory_->CountDefragmentation(before);
}

void Engine::Settle() {
  memory_->Purge();
  CompactIfScattered(memory_->Stats());
}

bool Engine::Tend() {
  memory_->Age();
  const AllPoolStats before = memory_->Stats();
  uint64_t requests = 0;
  for (const PoolStats& one : before) requests += one.hits + one.misses;
  CompactIfScattered(before);
  // What cannot move, or is too little to move anything for. It is faulted in again where somebody wants it, once a
  // turn at most.
  memory_->Trim(defragment_above_ * kHeld);
  // What has waited for two turns is gone by then.
  quiet_turns_ = requests == requests_seen_ ? quiet_turns_ + 1 : 0;
  requests_seen_ = requests;
  return quiet_turns_ < 3;
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
