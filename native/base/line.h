// Whoever must wait for a place does so in order of arrival, and may leave the line at any time.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>

#include "base/function_ref.h"

namespace ziggurat {

class Line {
 public:
  // Returns once `enter` has returned true to the first in line. `poll` is called every 2 ms; what it throws ends the
  // wait. `enter` is called under the line's lock.
  void Wait(FunctionRef<bool()> enter, FunctionRef<void()> poll) {
    std::unique_lock lock(mutex_);
    const uint64_t ticket = next_++;
    waiting_.push_back(ticket);
    length_.store(waiting_.size(), std::memory_order_relaxed);
    try {
      while (waiting_.front() != ticket || !enter()) {
        moved_.wait_for(lock, std::chrono::milliseconds(2));
        lock.unlock();
        poll();
        lock.lock();
      }
    } catch (...) {
      if (!lock.owns_lock()) lock.lock();
      waiting_.erase(std::find(waiting_.begin(), waiting_.end(), ticket));
      length_.store(waiting_.size(), std::memory_order_relaxed);
      moved_.notify_all();
      throw;
    }
    waiting_.pop_front();
    length_.store(waiting_.size(), std::memory_order_relaxed);
    moved_.notify_all();
  }

  bool Empty() const { return length_.load(std::memory_order_relaxed) == 0; }

  // A place may have become free.
  void Moved() {
    std::lock_guard lock(mutex_);
    if (!waiting_.empty()) moved_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable moved_;
  std::deque<uint64_t> waiting_;
  std::atomic<size_t> length_{0};  // of waiting_, for who only looks
  uint64_t next_ = 0;
};

}  // namespace ziggurat
