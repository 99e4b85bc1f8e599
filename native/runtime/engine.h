// The engine: all state that models share. Two engines in one process share nothing.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/cpu_info.h"
#include "base/cpu_watch.h"
#include "base/fork_guard.h"
#include "base/thread_pool.h"
#include "cpu/kernel_table.h"
#include "device/device.h"
#include "memory/budget.h"
#include "memory/pool.h"
#include "runtime/housekeeper.h"
#include "runtime/weight_store.h"

namespace ziggurat {

struct EngineOptions {
  int threads = 0;                 // 0: what affinity and the cgroup quota allow
  size_t memory_limit = 0;         // bytes; 0: nine tenths of what the machine or the cgroup has
  std::optional<std::string> isa;  // nullopt: the strongest the CPU runs
  double purge_after = 10;         // seconds that memory may wait unused before it goes back to the system; 0: for ever
  double defragment_above = 0.3;   // the share of waiting memory outside its largest piece that is too much
  Backing backing = Backing::kPool;
};

// What a defragmentation found and did.
struct DefragmentReport {
  AllPoolStats before, after;
  size_t moved = 0;     // bytes
  size_t released = 0;  // bytes that went back to the system
};

class Engine {
 public:
  // Throws kInvalidArgument for options that this machine cannot serve.
  explicit Engine(const EngineOptions& options);

  const char* isa() const { return table_.isa; }
  int threads() const { return pool_.size(); }
  const std::string& threads_reason() const { return threads_reason_; }

  ThreadPool& thread_pool() { return pool_; }
  // After a model is gone: gives back what it had, and moves weights together where memory is scattered now.
  void Settle();
  // A run's place in the pool, under what the machine grants now. Runs that must end within 10 ms do not stand in line.
  ThreadPool::Lease Admit(std::optional<std::chrono::steady_clock::time_point> deadline, FunctionRef<void()> poll);
  // Throws kUnavailable in a forked child: threads do not survive fork(), and locks may be held there for ever.
  void CheckProcess() const;
  bool InChild() const { return guard_.InChild(); }
  const std::shared_ptr<Pool>& memory() const { return memory_; }
  const std::shared_ptr<Budget>& budget() const { return budget_; }
  WeightStore& weights() { return weights_; }
  Device& cpu() { return *devices_.front(); }
  // By name; "auto" is the CPU until there is something faster. Throws kInvalidArgument listing the names.
  Device& device(std::string_view name);
  const std::vector<std::unique_ptr<Device>>& devices() const { return devices_; }

  // Puts idle memory together: what waits goes back to the system, weights that no run holds move into holes, and what
  // that frees goes back too.
  DefragmentReport Defragment();
  // What the housekeeper does at its pace: ages the pool, moves weights where that is worth it, and gives back what is
  // scattered above the threshold all the same.
  // Returns whether there may be more to do soon.
  bool Tend();
  void CompactIfScattered(const AllPoolStats& before);
  // Runs and closed models leave memory behind.
  void Nudge() {
    if (housekeeper_) housekeeper_->Nudge();
  }
  // The n-th request for memory from now on fails, for tests; 0: none.
  Faults& faults() { return *faults_; }

 private:
  Engine(const EngineOptions& options, const ThreadBudget& budget);

  ForkGuard guard_;
  const cpu::KernelTable& table_;
  std::string threads_reason_;
  const double defragment_above_;
  uint64_t requests_seen_ = 0;  // by the housekeeper, of the pools
  int quiet_turns_ = 0;
  ThreadPool pool_;
  CpuWatch watch_;
  std::shared_ptr<Faults> faults_;
  std::shared_ptr<Pool> memory_;
  std::shared_ptr<Budget> budget_;
  WeightStore weights_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::unique_ptr<Housekeeper> housekeeper_;  // the last: it looks at the rest
};

}  // namespace ziggurat
