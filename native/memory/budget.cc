#include "memory/budget.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <utility>

#include "base/error.h"

namespace ziggurat {

Reservation::Reservation(Reservation&& other) noexcept
    : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  if (this != &other) {
    Release();
    budget_ = std::exchange(other.budget_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

void Reservation::Release() {
  if (budget_) budget_->reserved_.fetch_sub(bytes_, std::memory_order_relaxed);
  budget_ = nullptr;
  bytes_ = 0;
}

Reservation Budget::Reserve(size_t bytes, std::string_view what) {
  size_t before = reserved_.load(std::memory_order_relaxed);
  do {
    if (bytes > limit_ || before > limit_ - bytes)
      throw Error(Code::kOutOfMemory, what, " needs ", FormatBytes(bytes), ", but ", FormatBytes(before), " of the ",
                  FormatBytes(limit_), " memory limit are in use");
  } while (!reserved_.compare_exchange_weak(before, before + bytes, std::memory_order_relaxed));
  size_t peak = peak_.load(std::memory_order_relaxed);
  while (peak < before + bytes && !peak_.compare_exchange_weak(peak, before + bytes, std::memory_order_relaxed)) {
  }
  return Reservation(this, bytes);
}

size_t DetectMemoryLimit(const std::string& root) {
  size_t limit = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  for (const char* file : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream in(root + file);
    size_t value = 0;
    if (in >> value) limit = std::min(limit, value);  // "max" does not parse: no limit
  }
  return limit;
}

std::string FormatBytes(size_t bytes) {
  char text[32];
  if (bytes >= size_t{1} << 30)
    std::snprintf(text, sizeof text, "%.2f GiB", static_cast<double>(bytes) / (1 << 30));
  else if (bytes >= size_t{1} << 20)
    std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  else
    std::snprintf(text, sizeof text, "%zu bytes", bytes);
  return text;
}

}  // namespace ziggurat
