// Bytes promised before they are taken, so that running out is a refusal with numbers and not the OOM killer.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "memory/faults.h"

namespace ziggurat {

class Budget;

// Gives its bytes back when it dies. Movable.
class Reservation {
 public:
  Reservation() = default;
  Reservation(Reservation&& other) noexcept;
  Reservation& operator=(Reservation&& other) noexcept;
  ~Reservation() { Release(); }
  size_t bytes() const { return bytes_; }
  void Release();

 private:
  friend class Budget;
  Reservation(Budget* budget, size_t bytes) : budget_(budget), bytes_(bytes) {}
  Budget* budget_ = nullptr;
  size_t bytes_ = 0;
};

// Thread-safe. Outlives its reservations.
class Budget {
 public:
  // `faults` may be null.
  explicit Budget(size_t limit, std::shared_ptr<Faults> faults = nullptr) : limit_(limit), faults_(std::move(faults)) {}
  // Throws kOutOfMemory, naming `what` and the numbers, if the limit would be passed.
  Reservation Reserve(size_t bytes, std::string_view what);
  size_t limit() const { return limit_; }
  size_t reserved() const { return reserved_.load(std::memory_order_relaxed); }
  size_t peak() const { return peak_.load(std::memory_order_relaxed); }

 private:
  friend class Reservation;
  const size_t limit_;
  const std::shared_ptr<Faults> faults_;
  std::atomic<size_t> reserved_{0}, peak_{0};
};

// What this process may use: the smallest of physical memory, the limits of its cgroup and of the groups around it (v1
// or v2), and what RLIMIT_AS and RLIMIT_DATA leave beside what the process has already. `root` as in DetectThreads.
size_t DetectMemoryLimit(const std::string& root = "");

// "1.5 GiB", "12 MiB", "800 bytes".
std::string FormatBytes(size_t bytes);

}  // namespace ziggurat
