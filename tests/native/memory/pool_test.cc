#include "memory/pool.h"

#include <cstring>
#include <random>
#include <thread>

#include "check.h"
#include "memory/arena.h"
#include "memory/budget.h"

using namespace ziggurat;

TEST(pool_gives_aligned_blocks_of_at_least_the_size_and_reuses_them) {
  auto pool = Pool::Make(size_t{1} << 30);
  for (size_t bytes : {0, 1, 255, 256, 257, 320, 321, 4096, 65536, 65537, 1 << 20, 2 << 20, (2 << 20) + 1, 40 << 20}) {
    std::byte* first;
    {
      Buffer buffer = pool->Allocate(bytes);
      first = buffer.data();
      CHECK(buffer.bytes() >= bytes);
      CHECK(buffer.bytes() <= std::max<size_t>(256, bytes + bytes / 4 + 1), bytes);
      CHECK(reinterpret_cast<uintptr_t>(first) % 64 == 0);
      std::memset(first, 1, buffer.bytes());
    }
    CHECK(pool->Allocate(bytes).data() == first);
  }
  uint64_t hits = 0;
  for (const PoolStats& stats : pool->Stats()) {
    hits += stats.hits;
    CHECK(stats.used == 0);
  }
  CHECK(hits >= 14);
  pool->Purge();
  for (const PoolStats& stats : pool->Stats()) CHECK(stats.reserved == 0);
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
