#include "base/cpu_watch.h"

#include <algorithm>
#include <cmath>

#include "base/cpu_info.h"

namespace ziggurat {

std::optional<ThreadGrant> CpuWatch::Look(Time now) {
  const int64_t ticks = now.time_since_epoch().count();
  if (ticks < next_.load(std::memory_order_relaxed)) return std::nullopt;
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock || ticks < next_.load(std::memory_order_relaxed)) return std::nullopt;
  const ThreadGrant grant = Read();
  const auto period = grant.spin ? kPeriod : kPeriodOfQuota;
  next_.store((now + period).time_since_epoch().count(), std::memory_order_relaxed);
  return grant;
}

ThreadGrant CpuWatch::Read() {
  const ThreadBudget budget = DetectThreads(root_);
  const uint64_t throttled = ThrottledPeriods(root_);
  // Once or twice a second is what a burst of a moment costs; a storm is ten times, once a period.
  const bool stopped = throttled_ && throttled > *throttled_ + 2;
  throttled_ = throttled;
  const int usable = follow_ ? std::min(size_, budget.cores) : size_;
  if (budget.quota >= usable) return {.threads = usable, .extra = 0, .spin = !stopped, .queue = false};
  if (!follow_) return {.threads = usable, .extra = 0, .spin = false, .queue = false};
  margin_ = stopped ? std::min(margin_ + 0.05, 0.5) : std::max(0.8 * margin_, 0.05);
  return Share(budget.quota, usable);
}

ThreadGrant CpuWatch::Share(double quota, int usable) const {
  const double cpus = std::clamp(quota - margin_, 1.0, static_cast<double>(usable));
  const int full = static_cast<int>(cpus);
  return {.threads = full, .extra = cpus - full, .spin = false, .queue = true};
}

}  // namespace ziggurat
