#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/cpu_info.h"
#include "base/error.h"

namespace ziggurat {
namespace {

// The CPUs this process may run on, by its first thread: a caller that pinned itself speaks for nobody else. Empty if
// the kernel would not say.
std::vector<int> AllowedCpus() {
  // The kernel wants a mask at least as wide as its own, which may be above the 1024 of cpu_set_t.
  for (int capacity = 1024; capacity <= (1 << 16); capacity *= 2) {
    std::vector<unsigned long> mask(static_cast<size_t>(capacity) / (8 * sizeof(unsigned long)));
    auto* set = reinterpret_cast<cpu_set_t*>(mask.data());
    const size_t bytes = mask.size() * sizeof(unsigned long);
    if (sched_getaffinity(getpid(), bytes, set) == 0) {
      std::vector<int> cpus;
      for (int cpu = 0; cpu < capacity; ++cpu)
        if (CPU_ISSET_S(cpu, bytes, set)) cpus.push_back(cpu);
      return cpus;
    }
    if (errno != EINVAL) break;
  }
  return {};
}

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Cores among `cpus`; as many as CPUs when the kernel does not list siblings.
int CountCores(const std::vector<int>& cpus, const std::string& root) {
  std::set<std::string> cores;
  for (int cpu : cpus) {
    std::string siblings = FirstLine(Cat(root, "/sys/devices/system/cpu/cpu", cpu, "/topology/thread_siblings_list"));
    cores.insert(siblings.empty() ? Cat("cpu", cpu) : siblings);
  }
  return static_cast<int>(cores.size());
}

constexpr double kNoQuota = std::numeric_limits<double>::infinity();

// "max 100000" or "150000 100000": microseconds of CPU time in each period.
double QuotaV2(const std::string& folder) {
  std::istringstream line(FirstLine(folder + "/cpu.max"));
  double quota = 0, period = 0;
  return (line >> quota >> period) && quota > 0 && period > 0 ? quota / period : kNoQuota;
}

double QuotaV1(const std::string& folder) {
  std::istringstream quota_line(FirstLine(folder + "/cpu.cfs_quota_us"));
  std::istringstream period_line(FirstLine(folder + "/cpu.cfs_period_us"));
  double quota = 0, period = 0;
  return (quota_line >> quota) && (period_line >> period) && quota > 0 && period > 0 ? quota / period : kNoQuota;
}

// nr_throttled of a group; 0 where its kernel or controller does not count.
uint64_t Throttled(const std::string& folder) {
  std::ifstream file(folder + "/cpu.stat");
  std::string name;
  for (uint64_t value; file >> name >> value;)
    if (name == "nr_throttled") return value;
  return 0;
}

// Calls see(folder, version) for this process's group and those above it, wherever they may be mounted. In a container
// the path may name a folder outside of what is mounted; the walk then ends at the mount's root, which is the
// container's own group.
template <typename See>
void EachGroup(const std::string& root, const See& see) {
  const auto climb = [&](const std::string& mount, std::string path, int version) {
    while (true) {
      see(mount + path, version);
      const size_t slash = path.rfind('/');
      if (path.empty() || slash == std::string::npos) return;
      path.resize(slash);
    }
  };
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/path" (v2) or "4:cpu,cpuacct:/path" (v1)
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    const std::string base = root + "/sys/fs/cgroup";
    if (controllers.empty()) {
      climb(base, path, 2);
      climb(base + "/unified", path, 2);
    } else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
      climb(base + "/" + controllers, path, 1);
      if (controllers != "cpu") climb(base + "/cpu", path, 1);
    }
  }
}

double CgroupQuota(const std::string& root) {
  double quota = kNoQuota;
  EachGroup(root, [&](const std::string& folder, int version) {
    quota = std::min(quota, version == 2 ? QuotaV2(folder) : QuotaV1(folder));
  });
  return quota;
}

}  // namespace

ThreadBudget DetectThreads(const std::string& root) {
  const std::vector<int> cpus = AllowedCpus();
  const int allowed = std::max<int>(1, static_cast<int>(cpus.size()));
  // A hypervisor's account of siblings is often fiction: two virtual CPUs shown as one core can be two real ones.
  const bool count_cores = !DetectCpu().in_virtual_machine && !cpus.empty();
  const int cores = count_cores ? CountCores(cpus, root) : allowed;
  const double quota = CgroupQuota(root);
  ThreadBudget budget;
  budget.threads = budget.cores = cores;
  budget.quota = quota;
  if (quota < cores) budget.threads = std::max(1, static_cast<int>(quota));
  budget.reason = Cat(budget.threads, ": CPUs allowed by affinity ", allowed);
  if (cores != allowed) budget.reason += Cat(" on ", cores, " cores");
  budget.reason += quota == kNoQuota ? ", cgroup quota none" : Cat(", cgroup quota ", quota);
  return budget;
}

uint64_t ThrottledPeriods(const std::string& root) {
  uint64_t periods = 0;
  EachGroup(root, [&](const std::string& folder, int) { periods += Throttled(folder); });
  return periods;
}

}  // namespace ziggurat
