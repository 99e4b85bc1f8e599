#include "base/cpu_info.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>

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

TEST(cpu_reports_caches_and_instruction_sets) {
  const CpuInfo cpu = DetectCpu();
#if defined(__x86_64__)
  CHECK(!cpu.isas.empty());
  CHECK(cpu.caches.l1_data >= 8 * 1024, cpu.caches.l1_data);
  CHECK(cpu.caches.l2 >= cpu.caches.l1_data);
#endif
}

}  // namespace ziggurat::test
