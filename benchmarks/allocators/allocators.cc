// allocators: what a block of memory costs, as JSON: ours, malloc, malloc with raised thresholds, and the system's own.
//
// The arms take turns on the same sizes. "touched" writes a byte of each page, as whoever asks for memory will.
#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "memory/pool.h"

namespace ziggurat::bench {
namespace {

using Clock = std::chrono::steady_clock;

long Faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

void Touch(void* data, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 4096) static_cast<volatile char*>(data)[i] = 1;
}

template <typename Run>
double Nanoseconds(int64_t times, const Run& run) {
  const auto start = Clock::now();
  for (int64_t i = 0; i < times; ++i) run();
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count() / static_cast<double>(times);
}

template <typename Run>
double Median(int rounds, const Run& run) {
  std::vector<double> all;
  for (int i = 0; i < rounds; ++i) all.push_back(run());
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

void Keep(void* data) { asm volatile("" ::"r"(data) : "memory"); }

void OursOnce(Pool& pool, size_t bytes, bool touch) {
  const Buffer buffer = pool.Allocate(bytes);
  touch ? Touch(buffer.data(), bytes) : Keep(buffer.data());
}
void MallocOnce(size_t bytes, bool touch) {
  void* data = std::malloc(bytes);
  touch ? Touch(data, bytes) : Keep(data);
  std::free(data);
}
void SystemOnce(size_t bytes, bool touch) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) std::exit(1);
  touch ? Touch(data, bytes) : Keep(data);
  munmap(data, bytes);
}

void RaiseThresholds() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

// One block is taken and given back, again and again.
void Sizes(Pool& pool, const char* malloc_arm) {
  for (size_t bytes :
       {64ul, 1024ul, 4096ul, 32ul << 10, 64ul << 10, 256ul << 10, 1ul << 20, 4ul << 20, 16ul << 20, 64ul << 20}) {
    const int64_t system_times = std::max<int64_t>(3, (int64_t{8} << 20) / static_cast<int64_t>(bytes + 65536));
    const double ours = Median(5, [&] { return Nanoseconds(20000, [&] { OursOnce(pool, bytes, false); }); });
    const double malloc_plain =
        Median(5, [&] { return Nanoseconds(system_times * 20, [&] { MallocOnce(bytes, false); }); });
    const double ours_touched =
        Median(5, [&] { return Nanoseconds(system_times, [&] { OursOnce(pool, bytes, true); }); });
    const double malloc_touched =
        Median(5, [&] { return Nanoseconds(system_times, [&] { MallocOnce(bytes, true); }); });
    const double system = Median(5, [&] { return Nanoseconds(system_times, [&] { SystemOnce(bytes, true); }); });
    std::printf(
        "{\"table\": \"sizes\", \"bytes\": %zu, \"ours_ns\": %.1f, \"%s_ns\": %.1f, \"ours_touched_ns\": %.0f, "
        "\"%s_touched_ns\": %.0f, \"system_touched_ns\": %.0f}\n",
        bytes, ours, malloc_arm, malloc_plain, ours_touched, malloc_arm, malloc_touched, system);
  }
}

// Blocks of mixed sizes live for a while, as the tensors of several models do: sizes spread evenly over powers of two.
void Mixed(Pool& pool) {
  std::mt19937 random(1);
  std::vector<Buffer> live(64);
  const auto turn = [&] {
    const size_t bytes = (size_t{1} << (6 + random() % 19)) + random() % 4096;  // to 16 MiB
    live[random() % live.size()] = pool.Allocate(bytes);
  };
  for (int i = 0; i < 20000; ++i) turn();
  const auto before = pool.Stats();
  const long faults = Faults();
  const double time = Nanoseconds(200000, turn);
  const auto after = pool.Stats();
  uint64_t hits = 0, misses = 0;
  for (size_t i = 0; i < after.size(); ++i) {
    hits += after[i].hits - before[i].hits;
    misses += after[i].misses - before[i].misses;
  }
  std::printf("{\"table\": \"mixed\", \"requests\": 200000, \"hit_ratio\": %.5f, \"ns\": %.1f, \"faults\": %ld}\n",
              static_cast<double>(hits) / static_cast<double>(hits + misses), time, Faults() - faults);
}

void Threads(Pool& pool, int count) {
  std::vector<std::thread> threads;
  std::vector<double> times(static_cast<size_t>(count));
  for (int t = 0; t < count; ++t)
    threads.emplace_back(
        [&, t] { times[static_cast<size_t>(t)] = Nanoseconds(500000, [&] { OursOnce(pool, 1024, false); }); });
  for (std::thread& thread : threads) thread.join();
  std::printf("{\"table\": \"threads\", \"threads\": %d, \"ns\": %.1f}\n", count,
              *std::max_element(times.begin(), times.end()));
}

}  // namespace
}  // namespace ziggurat::bench

int main(int argc, char** argv) {
  using namespace ziggurat;
  const bool raised = argc > 1 && std::string(argv[1]) == "--raised";
  if (raised) bench::RaiseThresholds();
  const auto pool = Pool::Make(size_t{1} << 30);
  bench::Sizes(*pool, raised ? "raised" : "malloc");
  if (raised) return 0;
  bench::Mixed(*pool);
  for (int count : {1, 2}) bench::Threads(*pool, count);
  return 0;
}
