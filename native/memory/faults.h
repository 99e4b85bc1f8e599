// Fails the n-th request for memory, so that tests can walk through every place that asks.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/error.h"

namespace ziggurat {

// Thread-safe. Shared by the budget and the pool of an engine.
class Faults {
 public:
  // The n-th request from now on fails, counted from 1; those after it do not. 0: none.
  void FailAfter(int64_t n) { left_.store(n, std::memory_order_relaxed); }
  // Whether the failure that was asked for has not come yet.
  bool pending() const { return left_.load(std::memory_order_relaxed) > 0; }
  void Check() {
    if (left_.load(std::memory_order_relaxed) <= 0) return;
    if (left_.fetch_sub(1, std::memory_order_relaxed) == 1)
      throw Error(Code::kOutOfMemory, "a failure of this request for memory was asked for");
  }

 private:
  std::atomic<int64_t> left_{0};
};

}  // namespace ziggurat
