// CPU time beyond whole threads, where a quota pays for a part of one. While it is open, one thread more may compute:
// until what the process really used, its event loop included, is up with what came in. It opens for milliseconds at a
// time: no period of the kernel's (100 ms) sees more than was granted, and places do not change hands at every turn.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>

#include "base/function_ref.h"

namespace ziggurat {

class Allowance {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Nanoseconds = std::chrono::nanoseconds;

  // CPUs that the process may use. The first look finds as much as gathers.
  void SetRate(double cpus) { rate_.store(cpus, std::memory_order_relaxed); }

  // `used` tells the CPU time of the process so far. Whoever comes while another looks gets the answer before.
  bool Open(Time now, FunctionRef<Nanoseconds()> used) {
    if (now.time_since_epoch().count() >= next_.load(std::memory_order_relaxed))
      if (std::unique_lock lock(mutex_, std::try_to_lock); lock) Look(now, used());
    return open_.load(std::memory_order_relaxed);
  }

 private:
  static constexpr Nanoseconds kPace{200'000};  // between two looks
  static constexpr double kMost = 10e6;         // nanoseconds that gather, and that may be owed
  static constexpr double kWorth = 3e6;         // to open for

  void Look(Time now, Nanoseconds used) {
    if (since_ == Time{}) since_ = now, used_ = used, left_ = kMost;
    const auto earned = static_cast<double>((now - since_).count()) * rate_.load(std::memory_order_relaxed);
    left_ = std::clamp(left_ + earned - static_cast<double>((used - used_).count()), -kMost, kMost);
    since_ = now;
    used_ = used;
    open_.store(left_ > (open_.load(std::memory_order_relaxed) ? 0 : kWorth), std::memory_order_relaxed);
    next_.store((now + kPace).time_since_epoch().count(), std::memory_order_relaxed);
  }

  std::atomic<double> rate_{0};
  std::atomic<int64_t> next_{INT64_MIN};  // of Time, in its own ticks
  std::atomic<bool> open_{false};
  std::mutex mutex_;  // guards what follows
  Time since_{};
  Nanoseconds used_{0};
  double left_ = 0;
};

}  // namespace ziggurat
