#include "base/cpu_info.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "base/cpu_watch.h"
#include "base/error.h"
#include "check.h"

namespace ziggurat::test {
namespace {

// A folder that stands for "/", removed with the object.
class FakeRoot {
 public:
  FakeRoot() {
    std::string name = (std::filesystem::temp_directory_path() / "ziggurat_root_XXXXXX").string();
    CHECK(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~FakeRoot() { std::filesystem::remove_all(path_); }
  void Write(const std::string& file, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(path_ + file).parent_path());
    std::ofstream(path_ + file) << text;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

TEST(threads_follow_affinity_without_a_quota) {
  FakeRoot root;
  const ThreadBudget budget = DetectThreads(root.path());
  CHECK(budget.threads >= 1);
  CHECK(budget.reason.find("quota none") != std::string::npos, budget.reason);
}

TEST(threads_follow_the_tightest_cgroup_v2_quota) {
  FakeRoot root;
  root.Write("/proc/self/cgroup", "0::/pods/mine\n");
  root.Write("/sys/fs/cgroup/pods/mine/cpu.max", "max 100000\n");
  root.Write("/sys/fs/cgroup/pods/cpu.max", "150000 100000\n");
  const ThreadBudget budget = DetectThreads(root.path());
  CHECK(budget.threads == 1, budget.reason);
  CHECK(budget.reason.find("quota 1.5") != std::string::npos, budget.reason);
}

TEST(threads_read_the_mount_root_when_the_group_path_is_outside_the_container) {
  FakeRoot root;
  root.Write("/proc/self/cgroup", "0::/../../elsewhere\n");
  root.Write("/sys/fs/cgroup/cpu.max", "50000 100000\n");
  CHECK(DetectThreads(root.path()).threads == 1);
}

TEST(threads_follow_a_cgroup_v1_quota) {
  FakeRoot root;
  root.Write("/proc/self/cgroup", "9:memory:/x\n4:cpu,cpuacct:/docker/abc\n");
  root.Write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "100000\n");
  root.Write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  CHECK(DetectThreads(root.path()).threads == 1);
  FakeRoot unlimited;
  unlimited.Write("/proc/self/cgroup", "4:cpu,cpuacct:/\n");
  unlimited.Write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  unlimited.Write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  CHECK(DetectThreads(unlimited.path()).reason.find("quota none") != std::string::npos);
}

TEST(broken_cgroup_files_mean_no_quota) {
  FakeRoot root;
  root.Write("/proc/self/cgroup", "nonsense\n0::\n:::\n");
  root.Write("/sys/fs/cgroup/cpu.max", "banana -1\n");
  CHECK(DetectThreads(root.path()).reason.find("quota none") != std::string::npos);
}

TEST(throttled_periods_are_summed_over_the_groups_above) {
  FakeRoot root;
  CHECK(ThrottledPeriods(root.path()) == 0);
  root.Write("/proc/self/cgroup", "0::/pods/mine\n");
  root.Write("/sys/fs/cgroup/pods/mine/cpu.stat", "usage_usec 5\nnr_periods 9\nnr_throttled 3\n");
  root.Write("/sys/fs/cgroup/pods/cpu.stat", "nr_throttled 4\nthrottled_usec 1\n");
  CHECK(ThrottledPeriods(root.path()) == 7);
}

TEST(a_watch_grants_what_a_quota_pays_for_and_follows_it) {
  FakeRoot root;
  root.Write("/proc/self/cgroup", "0::/mine\n");
  const auto write = [&](const char* max, int throttled) {
    root.Write("/sys/fs/cgroup/mine/cpu.max", Cat(max, " 100000\n"));
    root.Write("/sys/fs/cgroup/mine/cpu.stat", Cat("nr_throttled ", throttled, "\n"));
  };
  write("150000", 5);
  if (DetectThreads(root.path()).cores < 2) return;
  auto now = std::chrono::steady_clock::now();
  CpuWatch watch(2, true, root.path());
  const auto first = watch.Look(now);
  CHECK(first && first->threads == 1 && first->extra > 0.4 && first->extra < 0.5 && !first->spin && first->queue);
  CHECK(!watch.Look(now + CpuWatch::kPeriodOfQuota / 2));
  write("150000", 9);  // stopped all the same: leave the others more
  const auto second = watch.Look(now += CpuWatch::kPeriodOfQuota);
  CHECK(second && second->threads == 1 && second->extra < first->extra);
  write("max", 9);
  const auto third = watch.Look(now += CpuWatch::kPeriodOfQuota);
  CHECK(third && third->threads == 2 && third->extra == 0 && third->spin && !third->queue);
  CHECK(!watch.Look(now + CpuWatch::kPeriodOfQuota));  // without a quota there is less to look for
  write("100000", 9);
  const auto fourth = watch.Look(now += CpuWatch::kPeriod);
  CHECK(fourth && fourth->threads == 1 && fourth->extra == 0 && fourth->queue);
}

TEST(a_watch_over_threads_that_were_asked_for_only_stops_the_spinning) {
  FakeRoot root;
  root.Write("/proc/self/cgroup", "0::/mine\n");
  root.Write("/sys/fs/cgroup/mine/cpu.max", "150000 100000\n");
  const auto grant = CpuWatch(4, false, root.path()).Look(std::chrono::steady_clock::now());
  CHECK(grant && grant->threads == 4 && grant->extra == 0 && !grant->spin && !grant->queue);
}

TEST(cpu_reports_caches_and_instruction_sets) {
  const CpuInfo cpu = DetectCpu();
#if defined(__x86_64__)
  CHECK(!cpu.isas.empty());
  CHECK(cpu.caches.l1_data >= 8 * 1024, cpu.caches.l1_data);
  CHECK(cpu.caches.l2 >= cpu.caches.l1_data);
#endif
}

}  // namespace ziggurat::test
