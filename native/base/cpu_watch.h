// What the machine grants a pool's threads, asked again while it runs: affinity and quotas change under a process, and
// a group that used up its quota is stopped as a whole, the server's event loop included.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "base/thread_pool.h"

namespace ziggurat {

class CpuWatch {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kPeriod{30};        // between two looks
  static constexpr std::chrono::seconds kPeriodOfQuota{1};  // where a quota binds: what is used beside us shows soon

  // For a pool of `size`. With `follow` false the count is the user's, and only spinning is given up.
  CpuWatch(int size, bool follow, std::string root = "") : size_(size), follow_(follow), root_(std::move(root)) {}

  // A new grant where it is time to look again. Thread-safe; whoever comes while another looks gets nothing.
  std::optional<ThreadGrant> Look(Time now);

 private:
  ThreadGrant Read();
  ThreadGrant Share(double quota, int usable) const;

  const int size_;
  const bool follow_;
  const std::string root_;
  std::atomic<int64_t> next_{INT64_MIN};  // of Time, in its own ticks
  std::mutex mutex_;                      // guards what follows
  std::optional<uint64_t> throttled_;
  // CPUs of the quota left to the rest of the process: grows while the group is stopped all the same.
  double margin_ = 0.05;
};

}  // namespace ziggurat
