#include <sched.h>

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

// The CPUs the calling thread may run on. Empty if the kernel would not say.
std::vector<int> AllowedCpus() {
  // The kernel wants a mask at least as wide as its own, which may be above the 1024 of cpu_set_t.
  for (int capacity = 1024; capacity <= (1 << 16); capacity *= 2) {
    std::vector<unsigned long> mask(static_cast<size_t>(capacity) / (8 * sizeof(unsigned long)));
    auto* set = reinterpret_cast<cpu_set_t*>(mask.data());
    const size_t bytes = mask.size() * sizeof(unsigned long);
    if (sched_getaffinity(0, bytes, set) == 0) {
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

// The tightest quota of a group and its ancestors. In a container the path may name a folder outside of what is
// mounted; the walk then ends at the mount's root, which is the container's own group.
double TightestQuota(const std::string& mount, std::string path, double (*read)(const std::string&)) {
  double quota = kNoQuota;
  while (true) {
    quota = std::min(quota, read(mount + path));
    const size_t slash = path.rfind('/');
    if (path.empty() || slash == std::string::npos) return quota;
    path.resize(slash);
  }
}

double CgroupQuota(const std::string& root) {
  double quota = kNoQuota;
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/path" (v2) or "4:cpu,cpuacct:/path" (v1)
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    const std::string base = root + "/sys/fs/cgroup";
    if (controllers.empty()) {
      quota = std::min(quota, TightestQuota(base, path, QuotaV2));
      quota = std::min(quota, TightestQuota(base + "/unified", path, QuotaV2));
    } else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
      quota = std::min(quota, TightestQuota(base + "/" + controllers, path, QuotaV1));
      quota = std::min(quota, TightestQuota(base + "/cpu", path, QuotaV1));
    }
  }
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
  budget.threads = cores;
  if (quota < cores) budget.threads = std::max(1, static_cast<int>(quota));
  budget.reason = Cat(budget.threads, ": CPUs allowed by affinity ", allowed);
  if (cores != allowed) budget.reason += Cat(" on ", cores, " cores");
  budget.reason += quota == kNoQuota ? ", cgroup quota none" : Cat(", cgroup quota ", quota);
  return budget;
}

}  // namespace ziggurat
