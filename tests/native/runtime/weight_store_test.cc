#include "runtime/weight_store.h"

#include <atomic>
#include <cstring>
#include <random>
#include <thread>

#include "check.h"
#include "runtime/housekeeper.h"

using namespace ziggurat;

namespace {

using Packed = std::shared_ptr<const PackedWeight>;

// A weight that is its constant, repeated to a size.
Packed Pack(WeightStore& store, int32_t content, size_t bytes, const std::shared_ptr<RunGate>& gate) {
  const auto constant = Constant::Scalar(DType::kInt32, content);
  return store.Get(
      *constant, "repeated", bytes,
      [&](std::byte* to) {
        for (size_t i = 0; i + 4 <= bytes; i += 4) std::memcpy(to + i, &content, 4);
      },
      gate);
}

void CheckHolds(const Packed& packed, int32_t content) {
  for (size_t i = 0; i + 4 <= packed->bytes(); i += 4) CHECK(std::memcmp(packed->data() + i, &content, 4) == 0);
}

struct Fixture {
  std::shared_ptr<Pool> pool = Pool::Make(size_t{1} << 30);
  std::shared_ptr<Budget> budget = std::make_shared<Budget>(size_t{1} << 30);
  WeightStore store{pool, budget};
  std::map<int, Packed> live;

  // Many weights of 100 to 500 KiB, most of which go again.
  void Scatter(const std::shared_ptr<RunGate>& gate) {
    std::mt19937 random(11);
    for (int i = 0; i < 150; ++i) live[i] = Pack(store, i, (100 + random() % 400) << 10, gate);
    std::erase_if(live, [&](const auto&) { return random() % 4 != 0; });
  }
  PoolStats Weights() const { return pool->Stats()[kWeightPool]; }
};

}  // namespace

TEST(equal_weights_are_held_once_and_leave_with_their_last_holder) {
  Fixture f;
  const auto gate = std::make_shared<RunGate>();
  Packed first = Pack(f.store, 1, 1 << 20, gate), second = Pack(f.store, 1, 1 << 20, gate);
  CHECK(first == second && f.store.bytes() == 1 << 20 && f.budget->reserved() == 1 << 20);
  first.reset(), second.reset();
  CHECK(f.store.bytes() == 0 && f.budget->reserved() == 0);
}

TEST(compacting_weights_between_runs_brings_fragmentation_below_the_threshold) {
  Fixture f;
  const auto gate = std::make_shared<RunGate>();
  f.Scatter(gate);
  f.pool->Purge();
  const PoolStats before = f.Weights();
  CHECK(before.fragmentation > 0.3, before.fragmentation);
  f.store.Compact(0);
  f.pool->CountDefragmentation(f.pool->Stats());  // nothing moved since: not counted
  CHECK(f.Weights().defragmentations == 0);
  f.pool->Purge();
  const PoolStats after = f.Weights();
  for (const auto& [content, packed] : f.live) CheckHolds(packed, content);
  CHECK(after.moved > 0 && after.used == before.used);
  // All that is left is what shares a huge page with the last weight.
  CHECK(after.cached < 2 << 20, after.cached, " of ", before.cached);
  CHECK(after.fragmentation == 0, after.fragmentation);
}

TEST(fragmentation_is_held_while_weights_and_other_blocks_come_and_go) {
  Fixture f;
  const auto gate = std::make_shared<RunGate>();
  std::mt19937 random(17);
  std::vector<Buffer> outputs;
  double worst_before = 0;
  for (int turn = 0; turn < 400; ++turn) {
    // Sizes from 20 KiB to 4 MiB, the small ones more often.
    const size_t bytes = (size_t{20} << 10) << (random() % 8);
    f.live[turn] = Pack(f.store, turn, bytes + random() % bytes / 4096 * 4096, gate);
    while (f.live.size() > 30) f.live.erase(std::next(f.live.begin(), random() % f.live.size()));
    outputs.push_back(f.pool->Allocate((40 << 10) + random() % (2 << 20)));  // what callers hold for a while
    if (outputs.size() > 10) outputs.erase(outputs.begin() + random() % 10);
    if (turn % 10 != 9) continue;
    worst_before = std::max(worst_before, f.Weights().fragmentation);
    f.store.Compact(0.15);
    CHECK(f.Weights().fragmentation <= 0.15, f.Weights().fragmentation);
  }
  CHECK(worst_before > 0.5, worst_before);
  for (const auto& [content, packed] : f.live) CheckHolds(packed, content);
}

TEST(what_a_run_holds_does_not_move) {
  Fixture f;
  const auto busy = std::make_shared<RunGate>(), idle = std::make_shared<RunGate>();
  f.Scatter(busy);
  // Shared with a model that is idle: the run of the other is enough.
  for (const auto& [content, packed] : f.live) Pack(f.store, content, packed->bytes(), idle);
  std::map<int, const std::byte*> places;
  for (const auto& [content, packed] : f.live) places[content] = packed->data();
  {
    std::shared_lock run(*busy);
    f.store.Compact(0);
    for (const auto& [content, packed] : f.live) CHECK(packed->data() == places[content]);
  }
  f.store.Compact(0);
  CHECK(f.Weights().moved > 0);
  for (const auto& [content, packed] : f.live) CheckHolds(packed, content);
}

TEST(weights_without_a_gate_stay_where_they_are) {
  Fixture f;
  f.Scatter(nullptr);
  CHECK(f.Weights().used == 0);  // where they would be in the way of others
  f.store.Compact(0);
  for (const PoolStats& stats : f.pool->Stats()) CHECK(stats.moved == 0);
}

TEST(weights_move_while_runs_of_other_models_go_on) {
  Fixture f;
  std::vector<std::shared_ptr<RunGate>> gates;
  for (int i = 0; i < 3; ++i) gates.push_back(std::make_shared<RunGate>());
  std::mt19937 random(5);
  for (int i = 0; i < 90; ++i) f.live[i] = Pack(f.store, i, (40 + random() % 200) << 10, gates[i % 3]);
  std::erase_if(f.live, [&](const auto&) { return random() % 3 == 0; });
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> runs;
  for (int model = 0; model < 3; ++model)
    runs.emplace_back([&, model] {
      while (!stop) {
        {
          std::shared_lock run(*gates[model]);
          for (const auto& [content, packed] : f.live)
            if (content % 3 == model && std::memcmp(packed->data(), &content, 4) != 0) ++wrong;
        }
        std::this_thread::yield();
      }
    });
  std::thread churn([&] {
    for (int i = 0; i < 40; ++i) Pack(f.store, 1000 + i, (50 + 7 * i) << 10, gates[0]);
  });
  for (int i = 0; i < 20; ++i) f.store.Compact(0);
  churn.join();
  stop = true;
  for (std::thread& run : runs) run.join();
  CHECK(wrong == 0);
  for (const auto& [content, packed] : f.live) CheckHolds(packed, content);
}

TEST(the_housekeeper_works_while_there_is_work_and_after_a_nudge) {
  std::atomic<int> turns{0};
  std::atomic<bool> more{true};
  const auto until = [&](int wanted) {
    for (int i = 0; i < 5000 && turns < wanted; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return turns >= wanted;
  };
  Housekeeper housekeeper(std::chrono::milliseconds(20), [&] {
    ++turns;
    return more.load();
  });
  CHECK(until(3));
  more = false;
  const int seen = turns;
  CHECK(until(seen + 1));
  // Asleep for thirty turns now; a nudge ends that.
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  const int asleep = turns;
  housekeeper.Nudge();
  CHECK(until(asleep + 1));
}
