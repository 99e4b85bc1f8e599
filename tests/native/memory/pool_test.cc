#include "memory/pool.h"

#include <cstring>
#include <random>
#include <thread>

#include "check.h"
#include "memory/arena.h"
#include "memory/budget.h"

using namespace ziggurat;

TEST(pool_gives_aligned_blocks_of_at_least_the_size_with_bounded_slack_and_reuses_them) {
  auto pool = Pool::Make(size_t{1} << 30);
  for (size_t bytes : {0, 1, 63, 64, 65, 320, 321, 1024, 1025, 4096, 32768, 32769, 65537, 1 << 20, (2 << 20) + 1,
                       16 << 20, (16 << 20) + 1, 40 << 20}) {
    std::byte* first;
    {
      Buffer buffer = pool->Allocate(bytes);
      first = buffer.data();
      CHECK(buffer.bytes() >= bytes);
      // To 64 bytes, a quarter of a power of two, 4 KiB above 32 KiB, 2 MiB above 16 MiB.
      CHECK(buffer.bytes() <= std::max<size_t>(bytes + 64, bytes + bytes / 4), bytes);
      CHECK(reinterpret_cast<uintptr_t>(first) % 64 == 0);
      std::memset(first, 1, buffer.bytes());
    }
    CHECK(pool->Allocate(bytes).data() == first, bytes);
  }
  uint64_t hits = 0;
  for (const PoolStats& stats : pool->Stats()) {
    hits += stats.hits;
    if (stats.pool == "weights" || stats.pool == "held") continue;
    CHECK(stats.used == 0 && stats.cached > 0 && stats.reserved == stats.cached);
    CHECK(stats.largest_free <= stats.cached && stats.fragmentation >= 0 && stats.fragmentation < 1);
  }
  CHECK(hits >= 18);
  CHECK(pool->Purge() > 40 << 20);
  for (const PoolStats& stats : pool->Stats()) CHECK(stats.reserved == 0 && stats.fragmentation == 0, stats.pool);
}

TEST(pool_gives_back_what_nobody_used_for_two_turns_and_keeps_what_is_in_use) {
  auto pool = Pool::Make(size_t{1} << 30);
  for (size_t bytes : {100, 1 << 20, 40 << 20}) pool->Allocate(bytes);
  const auto cached = [&] {
    size_t sum = 0;
    for (const PoolStats& stats : pool->Stats()) sum += stats.cached;
    return sum;
  };
  pool->Age();
  pool->Allocate(40 << 20);  // used again: it stays
  CHECK(cached() > 41 << 20);
  pool->Age();
  CHECK(cached() == 40 << 20, cached());
  pool->Age();
  CHECK(cached() == 0);
  Buffer held = pool->Allocate(1 << 20);
  std::memset(held.data(), 3, held.bytes());
  for (int turn = 0; turn < 4; ++turn) pool->Age();
  for (size_t i = 0; i < held.bytes(); ++i) CHECK(held.data()[i] == std::byte{3});
}

TEST(pool_keeps_no_more_than_it_may) {
  auto pool = Pool::Make(1 << 20);
  pool->Allocate(40 << 20);
  CHECK(pool->Stats()[kLargePool].cached == 0 && pool->Stats()[kLargePool].released == 40 << 20);
  // Near the limit of the whole, what waits goes before more is taken.
  auto bounded = Pool::Make(size_t{1} << 30, 64 << 20);
  bounded->Allocate(40 << 20);
  CHECK(bounded->Stats()[kLargePool].cached == 40 << 20);
  Buffer other = bounded->Allocate(60 << 20);
  CHECK(bounded->Stats()[kLargePool].cached == 0 && bounded->Stats()[kLargePool].used == 60 << 20);
}

TEST(pool_counts_what_threads_took_and_gave_back_in_one_another_s_place) {
  auto pool = Pool::Make(size_t{1} << 30);
  std::vector<Buffer> made(3000);
  std::thread([&] {
    for (Buffer& buffer : made) buffer = pool->Allocate(700);
  }).join();
  CHECK(pool->Stats()[kSmallPool].used == made.size() * 704);
  std::thread([&] { made.clear(); }).join();
  CHECK(pool->Stats()[kSmallPool].used == 0);
  // Of threads that have ended nothing stays for good.
  for (int turn = 0; turn < 3; ++turn) pool->Age();
  CHECK(pool->Stats()[kSmallPool].reserved == 0);
}

TEST(pool_refuses_what_the_system_does_not_have) {
  auto pool = Pool::Make(1 << 30);
  CHECK_ERROR(Code::kOutOfMemory, pool->Allocate(~size_t{0}));
  CHECK_ERROR(Code::kOutOfMemory, pool->Allocate(size_t{1} << 55));
  pool->Allocate(100);
}

TEST(small_blocks_that_come_back_twice_or_from_elsewhere_are_refused) {
  SmallPool pool, other;
  for (SmallPool* each : {&pool, &other}) each->Add(MapPages(kHugePage));
  const int size_class = SmallClassOf(32 << 10);  // of which a cache holds two
  std::vector<std::byte*> blocks;
  for (int i = 0; i < 7; ++i) blocks.push_back(pool.Take(size_class));
  const auto give_twice = [&] {
    for (int round = 0; round < 2; ++round)
      for (std::byte* block : blocks) pool.Give(block, size_class);
  };
  CHECK_ERROR(Code::kInternal, give_twice());
  const auto give_elsewhere = [&] {
    for (int i = 0; i < 7; ++i) pool.Give(other.Take(size_class), size_class);
  };
  CHECK_ERROR(Code::kInternal, give_elsewhere());
}

TEST(the_failure_that_a_test_asks_for_comes_once) {
  auto faults = std::make_shared<Faults>();
  auto pool = Pool::Make(1 << 20, ~size_t{0}, faults);
  Budget budget(1000, faults);
  faults->FailAfter(3);
  pool->Allocate(1);
  Reservation reservation = budget.Reserve(1, "a test");
  CHECK(faults->pending());
  CHECK_ERROR(Code::kOutOfMemory, pool->Allocate(1));
  CHECK(!faults->pending());
  pool->Allocate(1);
}

TEST(pool_survives_its_owner_while_a_buffer_lives) {
  auto pool = Pool::Make(1 << 20);
  Buffer buffer = pool->Allocate(1000);
  pool.reset();
  std::memset(buffer.data(), 7, 1000);
}

TEST(pool_is_thread_safe) {
  auto pool = Pool::Make(1 << 26);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      std::vector<Buffer> held;
      for (int i = 0; i < 2000; ++i) {
        Buffer buffer = pool->Allocate(random() % 100000);
        std::memset(buffer.data(), t, 64);
        held.push_back(std::move(buffer));
        if (held.size() > 10) {
          CHECK(held.front().data()[0] == static_cast<std::byte>(t));
          held.erase(held.begin());
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const PoolStats& stats : pool->Stats()) CHECK(stats.used == 0);
}

TEST(budget_refuses_with_numbers_and_takes_back) {
  Budget budget(1000);
  Reservation first = budget.Reserve(600, "model a");
  CHECK_ERROR(Code::kOutOfMemory, budget.Reserve(401, "model b"));
  CHECK_ERROR(Code::kOutOfMemory, budget.Reserve(~size_t{0}, "model c"));
  first.Release();
  Reservation second = budget.Reserve(1000, "model b");
  CHECK(budget.reserved() == 1000 && budget.peak() == 1000);
}

TEST(arena_keeps_its_chunks_between_runs) {
  auto pool = Pool::Make(1 << 20);
  Arena arena(pool, std::make_shared<Budget>(size_t{1} << 30));
  std::byte* first = arena.Allocate(100);
  CHECK(arena.Allocate(1) == first + 128);
  arena.Allocate(1 << 20);
  const size_t bytes = arena.bytes();
  arena.Reset();
  CHECK(arena.Allocate(100) == first);
  arena.Allocate(1 << 20);
  CHECK(arena.bytes() == bytes);
}
