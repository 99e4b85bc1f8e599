#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <stdexcept>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "check.h"

namespace ziggurat::test {

TEST(parallel_for_runs_each_task_once) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    CHECK(pool.size() == threads);
    for (int64_t tasks : {0, 1, 2, 3, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(tasks));
      std::atomic<int> highest{0};
      pool.ParallelFor(tasks, 100, [&](int64_t task, int worker) {
        runs[static_cast<size_t>(task)].fetch_add(1);
        if (worker > highest) highest = worker;
      });
      for (auto& count : runs) CHECK(count == 1);
      CHECK(highest < threads);
    }
  }
}

TEST(parallel_for_keeps_to_its_share_of_workers) {
  ThreadPool pool(8);
  for (int cap : {0, 1, 2, 3}) {
    std::atomic<int> running{0}, most{0};
    pool.ParallelFor(200, cap, [&](int64_t, int worker) {
      const int now = ++running;
      int seen = most.load();
      while (now > seen && !most.compare_exchange_weak(seen, now)) {
      }
      CHECK(worker < std::max(cap, 1));
      std::this_thread::yield();
      --running;
    });
    CHECK(most <= std::max(cap, 1), "cap ", cap, " saw ", most.load());
  }
}

TEST(parallel_for_gives_each_concurrent_worker_its_own_number) {
  ThreadPool pool(4);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::atomic<int>> inside(4);
    pool.ParallelFor(16, 4, [&](int64_t, int worker) {
      CHECK(inside[static_cast<size_t>(worker)].fetch_add(1) == 0);
      inside[static_cast<size_t>(worker)].fetch_sub(1);
    });
  }
}

TEST(parallel_for_uses_sleeping_workers_too) {
  ThreadPool pool(2, std::chrono::microseconds(0));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  // Each of two tasks waits for the other: only two threads can finish it. Bounded, so a failure is not a hang.
  std::atomic<bool> both{false};
  for (int attempt = 0; attempt < 50 && !both; ++attempt) {
    std::atomic<int> arrived{0};
    pool.ParallelFor(2, 2, [&](int64_t, int) {
      ++arrived;
      const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
      while (arrived < 2 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
      if (arrived == 2) both = true;
    });
  }
  CHECK(both);
}

TEST(nested_parallel_for_runs_inline_as_worker_zero) {
  ThreadPool pool(4), other(2);
  std::atomic<int> inner{0};
  pool.ParallelFor(8, 4, [&](int64_t, int) {
    const auto thread = std::this_thread::get_id();
    pool.ParallelFor(5, 4, [&](int64_t, int worker) {
      CHECK(worker == 0 && std::this_thread::get_id() == thread);
      ++inner;
    });
    // Also when another pool's task lies between.
    other.ParallelFor(2, 1, [&](int64_t, int) {
      pool.ParallelFor(3, 4, [&](int64_t, int worker) {
        CHECK(worker == 0 && std::this_thread::get_id() == thread);
        ++inner;
      });
    });
  });
  CHECK(inner == 8 * (5 + 2 * 3));
}

TEST(an_exception_of_a_task_reaches_the_caller_after_all_workers_stopped) {
  ThreadPool pool(4);
  for (int round = 0; round < 100; ++round) {
    std::atomic<int> inside{0};
    bool caught = false;
    try {
      pool.ParallelFor(1000, 4, [&](int64_t task, int) {
        ++inside;
        if (task == 10 + round) {
          --inside;
          throw Error(Code::kCancelled, "task ", task);
        }
        --inside;
      });
    } catch (const Error& error) {
      caught = error.code() == Code::kCancelled;
    }
    CHECK(caught && inside == 0);
  }
  std::atomic<int> after{0};
  pool.ParallelFor(10, 4, [&](int64_t, int) { ++after; });
  CHECK(after == 10);
}

TEST(several_callers_share_one_pool) {
  ThreadPool pool(4, std::chrono::microseconds(5));
  std::atomic<int64_t> total{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 6; ++c)
    callers.emplace_back([&, c] {
      for (int round = 0; round < 500; ++round) {
        int64_t expected = 0;
        std::vector<int64_t> parts(static_cast<size_t>(round % 9));
        pool.ParallelFor(static_cast<int64_t>(parts.size()), 1 + c % 4,
                         [&](int64_t task, int) { parts[static_cast<size_t>(task)] = task + c; });
        for (size_t i = 0; i < parts.size(); ++i) expected += parts[i] - static_cast<int64_t>(i) - c;
        total += expected;
        if (round % 50 == 0) std::this_thread::sleep_for(std::chrono::microseconds(30));
      }
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(total == 0);
}

#if defined(__x86_64__)
TEST(workers_compute_under_the_callers_float_control) {
  ThreadPool pool(4);
  const uint32_t before = _mm_getcsr();
  for (uint32_t control : {0x1f80u, 0x1f80u | 0x8040u, 0x1f80u}) {
    _mm_setcsr(control);
    std::atomic<int> wrong{0};
    for (int round = 0; round < 50; ++round)
      pool.ParallelFor(16, 4, [&](int64_t, int) { wrong += (_mm_getcsr() & ~0x3fu) != control; });
    _mm_setcsr(before);
    CHECK(wrong == 0);
  }
}
#endif

TEST(a_pool_refuses_senseless_sizes) {
  CHECK_ERROR(Code::kInvalidArgument, ThreadPool(0));
  CHECK_ERROR(Code::kInvalidArgument, ThreadPool(-3));
  CHECK_ERROR(Code::kInvalidArgument, ThreadPool(1 << 20));
}

TEST(pools_come_and_go_quickly) {
  for (int round = 0; round < 50; ++round) {
    ThreadPool pool(3, std::chrono::microseconds(round % 2));
    std::atomic<int> runs{0};
    if (round % 3) pool.ParallelFor(5, 3, [&](int64_t, int) { ++runs; });
    CHECK(runs == (round % 3 ? 5 : 0));
  }
}

}  // namespace ziggurat::test
