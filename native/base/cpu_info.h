// What this process may use of the machine: instruction sets, caches, and how many threads and why.
//
// Everything is asked anew on each call (CPUID traps in virtual machines: tens of microseconds), so callers keep
// the answer; an Engine asks once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ziggurat {

struct CacheSizes {  // bytes seen by one core; 0 when the CPU does not say
  size_t l1_data = 0;
  size_t l2 = 0;
  size_t l3 = 0;
};

struct CpuInfo {
  std::string model;                   // "AMD EPYC", as the CPU names itself; may be empty
  std::vector<std::string_view> isas;  // kernel sets this CPU and OS can run, weakest first
  CacheSizes caches;
  bool in_virtual_machine = false;
};
CpuInfo DetectCpu();

struct ThreadBudget {
  int threads = 1;     // at least 1
  int cores = 1;       // what affinity alone allows
  double quota = 0;    // CPUs that the tightest cgroup pays for; infinite where there is no quota
  std::string reason;  // "2: CPUs allowed by affinity 2, cgroup quota none"
};
// The CPUs this process may run on, SMT siblings counted once on bare metal, cut to the cgroup (v1 or v2) CPU quota.
// Under a quota the count is rounded down: a thread more than the quota pays for gets the whole group throttled.
// `root` is where /proc and /sys are looked up; tests pass a folder of their own.
ThreadBudget DetectThreads(const std::string& root = "");

// Periods in which this process's cgroup, or one above it, had used up its quota and was stopped; they only grow.
uint64_t ThrottledPeriods(const std::string& root = "");

}  // namespace ziggurat
