// CPU time for one more thread, where a quota pays for a part of one: it comes in evenly and is spent by the job, so
// that no period of the kernel's (100 ms) sees more than was granted.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace ziggurat {

class Allowance {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // The part of the time, 0 to 1.
  void SetRate(double rate) { rate_.store(rate, std::memory_order_relaxed); }
  double rate() const { return rate_.load(std::memory_order_relaxed); }

  // Whether there is any left.
  bool Has(Time now) {
    Accrue(now.time_since_epoch().count());
    return left_.load(std::memory_order_relaxed) > 0;
  }
  void Spend(std::chrono::nanoseconds time) { left_.fetch_sub(time.count(), std::memory_order_relaxed); }

 private:
  void Accrue(int64_t now) {
    int64_t since = since_.load(std::memory_order_relaxed);
    if (now <= since || !since_.compare_exchange_strong(since, now, std::memory_order_relaxed)) return;
    const auto earned = static_cast<int64_t>(static_cast<double>(now - since) * rate());
    int64_t left = left_.load(std::memory_order_relaxed);
    while (!left_.compare_exchange_weak(left, std::min(left + earned, kMost), std::memory_order_relaxed)) {
    }
  }

  static constexpr int64_t kMost = 10'000'000;  // nanoseconds: what may be spent at once after a pause
  std::atomic<double> rate_{0};
  std::atomic<int64_t> since_{0};
  std::atomic<int64_t> left_{0};
};

}  // namespace ziggurat
