#include "memory/budget.h"

#include <sys/resource.h>
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
  if (faults_) faults_->Check();
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

namespace {

constexpr size_t kNone = ~size_t{0};

// "max" does not parse: no limit.
size_t LimitIn(const std::string& file) {
  std::ifstream in(file);
  size_t value = 0;
  return in >> value ? value : kNone;
}

// The tightest limit of a group and of those around it. In a container the path may name a folder outside of what is
// mounted; the walk then ends at the mount's root, which is the container's own group.
size_t TightestLimit(const std::string& mount, std::string path, const char* file) {
  size_t limit = kNone;
  while (true) {
    limit = std::min(limit, LimitIn(mount + path + "/" + file));
    const size_t slash = path.rfind('/');
    if (path.empty() || slash == std::string::npos) return limit;
    path.resize(slash);
  }
}

size_t CgroupLimit(const std::string& root) {
  const std::string base = root + "/sys/fs/cgroup";
  size_t limit = std::min(LimitIn(base + "/memory.max"), LimitIn(base + "/memory/memory.limit_in_bytes"));
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/path" (v2) or "4:memory:/path" (v1)
    const size_t first = line.find(':'), second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    if (controllers == ",,") {
      limit = std::min(limit, TightestLimit(base, path, "memory.max"));
      limit = std::min(limit, TightestLimit(base + "/unified", path, "memory.max"));
    } else if (controllers.find(",memory,") != std::string::npos) {
      limit = std::min(limit, TightestLimit(base + "/memory", path, "memory.limit_in_bytes"));
    }
  }
  return limit;
}

// The process has some of what it may have already: bytes in the field of /proc/self/statm, counted in pages.
size_t ProcessLimit(__rlimit_resource resource, int field, const std::string& root) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kNone;
  std::ifstream in(root + "/proc/self/statm");
  size_t pages = 0;
  for (int i = 0; i <= field; ++i) in >> pages;
  const size_t used = pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return limit.rlim_cur > used ? limit.rlim_cur - used : 1;
}

}  // namespace

size_t DetectMemoryLimit(const std::string& root) {
  const size_t physical = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return std::min({physical, CgroupLimit(root), ProcessLimit(RLIMIT_AS, 0, root), ProcessLimit(RLIMIT_DATA, 5, root)});
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
