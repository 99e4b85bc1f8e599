// Whoever must wait for a place does so in order of arrival, and may leave the line at any time.
//
// A run may be shorter than waking a thread takes. So only who has got a place is woken, and the place of one who comes
// back for it at once is handed on only when the first in line has waited for a slice of time, as the kernel's
// scheduler does with a CPU.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>

#include "base/function_ref.h"

namespace ziggurat {

class Line {
 public:
  // Returns once `enter` has returned true: to this caller, or to one who left while this was the first in line. It is
  // called under the line's lock. `poll` is called every 2 ms or sooner; what it throws ends the wait.
  void Wait(FunctionRef<bool()> enter, FunctionRef<void()> poll) {
    std::unique_lock lock(mutex_);
    const Clock::time_point now = Clock::now();
    if (!waiting_.empty()) returns_ = now - left_ < kSoon;
    if ((waiting_.empty() || now - served_ < kSlice) && enter()) return;
    if (waiting_.empty()) served_ = now;
    Waiter self{.enter = enter};
    waiting_.push_back(&self);
    Stand(self, lock, poll);
  }

  // For one who has a place: where `leave` says under the lock that it has left it, waits before all others to enter
  // again.
  void StepBack(FunctionRef<bool()> leave, FunctionRef<bool()> enter, FunctionRef<void()> poll) {
    std::unique_lock lock(mutex_);
    if (!leave()) return;
    served_ = Clock::now();
    Waiter self{.enter = enter};
    waiting_.push_front(&self);
    Stand(self, lock, poll);
  }

  // How many wait.
  int Length() const { return length_.load(std::memory_order_relaxed); }

  // Someone left a place.
  void Left() {
    std::lock_guard lock(mutex_);
    left_ = Clock::now();
    if (!returns_ || left_ - served_ >= kSlice) Serve();
  }

  // Places may have become free.
  void Moved() {
    std::lock_guard lock(mutex_);
    Serve();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kSlice{1}, kPoll{2};
  static constexpr std::chrono::microseconds kSoon{200};

  struct Waiter {
    FunctionRef<bool()> enter;
    std::condition_variable woken = {};
    bool entered = false;
  };

  void Stand(Waiter& self, std::unique_lock<std::mutex>& lock, FunctionRef<void()> poll) {
    length_.fetch_add(1, std::memory_order_relaxed);
    while (true) {
      self.woken.wait_for(lock, waiting_.front() == &self ? kSlice : kPoll);
      if (!self.entered && waiting_.front() == &self && ServeFirst()) returns_ = false;  // nobody came for it
      if (self.entered) return;
      lock.unlock();
      try {
        poll();
      } catch (...) {
        lock.lock();
        if (self.entered) return;  // the run itself polls, too
        Drop(self);
        throw;
      }
      lock.lock();
    }
  }

  void Drop(const Waiter& self) {
    const bool first = waiting_.front() == &self;
    waiting_.erase(std::find(waiting_.begin(), waiting_.end(), &self));
    length_.fetch_sub(1, std::memory_order_relaxed);
    if (first) Serve();
  }

  // Gives the first in line a place, if there is one.
  bool ServeFirst() {
    Waiter& first = *waiting_.front();
    if (!first.enter()) return false;
    first.entered = true;
    waiting_.pop_front();
    length_.fetch_sub(1, std::memory_order_relaxed);
    served_ = Clock::now();
    return true;
  }

  void Serve() {
    while (!waiting_.empty()) {
      Waiter& first = *waiting_.front();
      if (!ServeFirst()) return;
      first.woken.notify_one();
    }
  }

  std::mutex mutex_;
  std::deque<Waiter*> waiting_;
  std::atomic<int> length_{0};           // of it
  Clock::time_point served_{}, left_{};  // when the first in line became that; when a place was left
  bool returns_ = false;                 // whether the last who left came back at once
};

}  // namespace ziggurat
