#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <cstdlib>
#include <ctime>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/allowance.h"
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

TEST(a_worker_begins_with_the_same_part_of_every_job) {
  ThreadPool pool(2, std::chrono::microseconds(1000));
  std::map<std::thread::id, std::set<bool>> halves;  // in which half of the tasks each thread began
  for (int job = 0; job < 100; ++job) {
    std::mutex mutex;
    std::map<std::thread::id, bool> began;
    std::atomic<int> arrived{0};
    pool.ParallelFor(9, 2, [&](int64_t task, int) {
      {
        std::lock_guard lock(mutex);
        if (!began.emplace(std::this_thread::get_id(), task >= 5).second) return;
      }
      // Nobody takes a second task before both have a first. Bounded, where only one of them comes.
      ++arrived;
      const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
      while (arrived < 2 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    });
    if (began.size() == 2)
      for (auto [thread, half] : began) halves[thread].insert(half);
  }
  CHECK(halves.size() == 2);
  for (auto& [thread, seen] : halves) CHECK(seen == std::set<bool>{thread != std::this_thread::get_id()});
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

TEST(each_lease_beyond_the_first_keeps_a_worker_out_of_everybodys_tasks) {
  ThreadPool pool(4);
  const auto nothing = [] {};
  std::vector<std::unique_ptr<ThreadPool::Lease>> leases;
  for (int held = 1; held <= 6; ++held) {
    leases.push_back(std::make_unique<ThreadPool::Lease>(pool, true, nothing));
    CHECK(pool.leases() == held);
    for (int round = 0; round < 20; ++round) {
      std::atomic<int> highest{0}, runs{0};
      pool.ParallelFor(64, 4, [&](int64_t, int worker) {
        ++runs;
        for (int seen = highest; worker > seen && !highest.compare_exchange_weak(seen, worker);) {
        }
      });
      CHECK(runs == 64 && highest <= std::max(0, 4 - held), "held ", held, " saw ", highest.load());
    }
  }
  leases.clear();
  CHECK(pool.leases() == 0);
}

TEST(a_grant_holds_from_the_next_fork_on) {
  ThreadPool pool(4);
  for (int threads : {1, 2, 4, 3}) {
    pool.Grant({.threads = threads});
    std::atomic<int> highest{0};
    for (int round = 0; round < 50; ++round)
      pool.ParallelFor(64, 4, [&](int64_t, int worker) {
        for (int seen = highest; worker > seen && !highest.compare_exchange_weak(seen, worker);) {
        }
      });
    CHECK(highest < threads, highest.load(), " of ", threads);
  }
}

// Six callers that come while all of a pool's places are taken: in which order they got theirs, and how many at once.
std::pair<std::vector<int>, int> StandInLine(int places) {
  ThreadPool pool(4);
  pool.Grant({.threads = places, .queue = true});
  std::mutex mutex;
  std::vector<int> order;
  std::atomic<int> inside{0}, most{0};
  std::vector<std::thread> callers;
  {
    std::vector<std::unique_ptr<ThreadPool::Lease>> first;
    for (int i = 0; i < places; ++i) first.push_back(std::make_unique<ThreadPool::Lease>(pool, true, [] {}));
    for (int caller = 0; caller < 6; ++caller) {
      std::atomic<bool> in_line{false};
      callers.emplace_back([&, caller] {
        ThreadPool::Lease lease(pool, true, [&, told = false]() mutable {
          if (!told) in_line = true, told = true;
        });
        const int now = ++inside;
        for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
        }
        {
          std::lock_guard lock(mutex);
          order.push_back(caller);
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        --inside;
      });
      while (!in_line) std::this_thread::yield();  // it polls, so it stands in line
    }
    ThreadPool::Lease hurried(pool, false, [] {});  // does not wait
    CHECK(order.empty());
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(pool.leases() == 0);
  return {order, most};
}

TEST(where_runs_stand_in_line_they_get_their_turn_in_order) {
  const auto [order, most] = StandInLine(1);
  CHECK(most == 1, most);
  CHECK((order == std::vector<int>{0, 1, 2, 3, 4, 5}));
}

TEST(no_more_runs_compute_than_there_are_places) {
  const auto [order, most] = StandInLine(2);
  CHECK(most <= 2, most);
  CHECK(order.size() == 6);
}

TEST(who_comes_back_at_once_keeps_its_place_for_a_slice_of_time) {
  ThreadPool pool(2);
  pool.Grant({.threads = 1, .queue = true});
  std::atomic<bool> stop{false};
  std::atomic<int> runs[2] = {0, 0};
  std::vector<std::thread> callers;
  for (auto& count : runs)
    callers.emplace_back([&] {
      while (!stop) {
        ThreadPool::Lease lease(pool, true, [] {});
        ++count;
      }
    });
  // Both get their turn, though either could go on for ever.
  for (int round = 0; round < 5000 && (runs[0] < 1000 || runs[1] < 1000); ++round)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  stop = true;
  for (std::thread& caller : callers) caller.join();
  CHECK(runs[0] >= 1000 && runs[1] >= 1000, runs[0].load(), " and ", runs[1].load());
  CHECK(pool.leases() == 0);
}

TEST(who_leaves_the_line_blocks_nobody) {
  ThreadPool pool(2);
  pool.Grant({.threads = 1, .queue = true});
  auto first = std::make_unique<ThreadPool::Lease>(pool, true, [] {});
  for (int round = 0; round < 3; ++round) {
    bool cancelled = false;
    try {
      ThreadPool::Lease never(pool, true, [] { throw Error(Code::kCancelled, "left"); });
    } catch (const Error& error) {
      cancelled = error.code() == Code::kCancelled;
    }
    CHECK(cancelled && pool.leases() == 1);
  }
  std::thread waiter([&] { ThreadPool::Lease lease(pool, true, [] {}); });
  first.reset();
  waiter.join();
  // A grant without a line lets everybody in who waits.
  first = std::make_unique<ThreadPool::Lease>(pool, true, [] {});
  std::thread freed([&] { ThreadPool::Lease lease(pool, true, [] {}); });
  pool.Grant({.threads = 2});
  freed.join();
}

// Spends CPU time of this process.
void Burn(std::chrono::milliseconds time) {
  const std::clock_t end = std::clock() + CLOCKS_PER_SEC / 1000 * time.count();
  while (std::clock() < end) {
  }
}

TEST(who_stands_in_line_gets_the_extra_part_of_the_time) {
  ThreadPool pool(2);
  pool.Grant({.threads = 1, .extra = 0.5, .queue = true});
  ThreadPool::Lease first(pool, true, [] {});
  bool third = false;
  {
    ThreadPool::Lease second(pool, true, [] {});  // comes in by the allowance, while the first still computes
    CHECK(pool.leases() == 2);
    try {
      ThreadPool::Lease never(pool, true, [] { throw Error(Code::kCancelled, "left"); });
    } catch (const Error&) {
      third = true;
    }
  }
  CHECK(third && pool.leases() == 1);
  pool.Grant({.threads = 1, .queue = true});  // nothing extra any more
  bool waited = false;
  try {
    ThreadPool::Lease later(pool, true, [] { throw Error(Code::kCancelled, "it had to wait"); });
  } catch (const Error&) {
    waited = true;
  }
  CHECK(waited && pool.leases() == 1);
}

TEST(a_run_stands_back_when_the_extra_part_of_the_time_is_used_up) {
  ThreadPool pool(2);
  pool.Grant({.threads = 0, .extra = 1e-6, .queue = true});  // what has gathered, and next to nothing comes in
  ThreadPool::Lease first(pool, true, [] {});
  int polls = 0;
  {
    ThreadPool::Lease second(pool, true, [] {});
    CHECK(pool.leases() == 2);
    second.GiveWay([] { CHECK(false, "there was room"); });
    for (int round = 0; round < 1000 && polls == 0; ++round) {
      Burn(std::chrono::milliseconds(5));
      try {
        second.GiveWay([&] {
          CHECK(pool.leases() == 1);
          ++polls;
          throw Error(Code::kCancelled, "while it stood back");
        });
      } catch (const Error&) {
      }
    }
    CHECK(polls == 1 && pool.leases() == 1);
  }
  CHECK(pool.leases() == 1);  // what it had given up is not given up twice
}

TEST(who_stood_back_goes_on_where_a_place_is_left) {
  ThreadPool pool(2);
  pool.Grant({.threads = 1, .extra = 0.5, .queue = true});
  auto first = std::make_unique<ThreadPool::Lease>(pool, true, [] {});
  ThreadPool::Lease second(pool, true, [] {});
  CHECK(pool.leases() == 2);
  pool.Grant({.threads = 0, .extra = 1e-6, .queue = true});
  std::atomic<bool> stands{false};
  std::thread leaver([&] {
    while (!stands) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    first.reset();
  });
  bool stood = false;
  for (int round = 0; round < 1000 && !stood; ++round) {
    Burn(std::chrono::milliseconds(5));
    second.GiveWay([&] { stands = true; });
    stood = stands;
  }
  stands = true;
  leaver.join();
  CHECK(stood && pool.leases() == 1);
}

TEST(an_allowance_opens_for_what_came_in_and_was_not_used) {
  using std::chrono::microseconds, std::chrono::milliseconds;
  const Allowance::Time start = std::chrono::steady_clock::now();
  Allowance::Nanoseconds used = milliseconds(7);
  const auto open = [&](Allowance& allowance, milliseconds at) {
    return allowance.Open(start + at, [&] { return used; });
  };
  Allowance closed;
  CHECK(open(closed, milliseconds(0)));  // begins with what gathers
  used += milliseconds(10);
  CHECK(!open(closed, milliseconds(10)) && !open(closed, milliseconds(100'000)));
  Allowance allowance;
  allowance.SetRate(1.5);
  CHECK(open(allowance, milliseconds(1000)));  // with 10 ms, the most that gathers
  used += milliseconds(24);
  CHECK(open(allowance, milliseconds(1010)));  // 15 ms came in, but 10 is the most: 1 or more is left
  used += milliseconds(4);
  CHECK(!open(allowance, milliseconds(1012)));  // 3 more came in
  CHECK(!open(allowance, milliseconds(1013)));  // open again only when it is worth it
  used += milliseconds(1);
  CHECK(open(allowance, milliseconds(1017)));
  used += milliseconds(1000);
  CHECK(!open(allowance, milliseconds(1020)));
  CHECK(open(allowance, milliseconds(1030)));  // what is owed is bounded, too
  CHECK(open(allowance, milliseconds(500)));   // a clock read earlier changes nothing
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
