// Models come and go while runs and results of all lifetimes go on: memory is held together, and nobody's bytes change.
#include <cmath>
#include <cstring>
#include <list>
#include <random>

#include "check.h"
#include "runtime/engine.h"

using namespace ziggurat;

namespace {

constexpr double kMost = 0.3;

struct Block {
  Buffer buffer;
  uint8_t mark;
  int until;  // which step

  void Check() const {
    for (size_t i = 0; i < buffer.bytes(); i += 4093) CHECK(buffer.data()[i] == std::byte{mark});
  }
};

struct LoadedModel {
  std::shared_ptr<RunGate> gate = std::make_shared<RunGate>();
  std::vector<std::pair<std::shared_ptr<const PackedWeight>, uint8_t>> weights;
  size_t slab = 0;

  void Check() const {
    for (const auto& [weight, mark] : weights)
      for (size_t i = 0; i < weight->bytes(); i += 4093) CHECK(weight->data()[i] == std::byte{mark});
  }
};

struct Run {
  std::shared_ptr<LoadedModel> model;
  std::shared_lock<RunGate> lock;
  Block slab;
};

class Churn {
 public:
  explicit Churn(Engine& engine) : engine_(engine) {}

  void Step() {
    ++step_;
    std::erase_if(runs_, [&](Run& run) {
      if (run.slab.until > step_) return false;
      run.slab.Check();
      return true;
    });
    std::erase_if(results_, [&](const Block& block) {
      if (block.until > step_) return false;
      block.Check();
      return true;
    });
    if (step_ % 6 == 1) Load();
    if (models_.size() > 14 || (step_ > 600 && random_() % 9 == 0 && models_.size() > 2)) Unload();
    const int most = step_ % 200 < 100 ? 4 : 1;  // busy times and quiet ones
    while (static_cast<int>(runs_.size()) < most) Start();
  }
  void Check() const {
    for (const auto& model : models_) model->Check();
    for (const Block& block : results_) block.Check();
  }

 private:
  // Sizes spread evenly over powers of two.
  size_t Size(double least, double most) {
    return static_cast<size_t>(least * std::pow(most / least, std::uniform_real_distribution<double>(0, 1)(random_)));
  }
  Block Make(size_t bytes, Life life, int steps) {
    Block block{engine_.memory()->Allocate(bytes, life), static_cast<uint8_t>(random_()), step_ + steps};
    std::memset(block.buffer.data(), block.mark, block.buffer.bytes());
    return block;
  }
  void Load() {
    auto model = std::make_shared<LoadedModel>();
    const int count = 1 + static_cast<int>(random_() % 6);
    for (int i = 0; i < count; ++i) {
      const uint8_t mark = static_cast<uint8_t>(random_());
      const size_t bytes = Size(20 << 10, 20 << 20);
      auto weight = engine_.weights().Get(
          *Constant::Scalar(DType::kInt64, int64_t{step_} * 100 + i), "marked", bytes,
          [&](std::byte* to) { std::memset(to, mark, bytes); }, model->gate);
      model->weights.emplace_back(std::move(weight), mark);
    }
    model->slab = Size(50 << 10, 14 << 20);
    models_.push_back(std::move(model));
  }
  void Unload() {
    const size_t which = random_() % models_.size();
    models_[which]->Check();
    models_.erase(models_.begin() + static_cast<long>(which));
  }
  void Start() {
    const auto& model = models_[random_() % models_.size()];
    // One thread stands for many here, and holds several gates, which no run does: it must not wait for any.
    std::shared_lock gate(*model->gate, std::try_to_lock);
    CHECK(gate.owns_lock());
    runs_.push_back({model, std::move(gate), Make(model->slab, Life::kRun, 1 + int(random_() % 3))});
    // Most results are read at once, some are kept, a few for long.
    const int fate = static_cast<int>(random_() % 20);
    const int steps = fate < 16 ? 2 : fate < 19 ? 40 : 400;
    results_.push_back(Make(Size(1 << 10, 4 << 20), Life::kHeld, steps));
  }

  Engine& engine_;
  std::mt19937 random_{17};
  int step_ = 0;
  std::vector<std::shared_ptr<LoadedModel>> models_;
  std::list<Run> runs_;  // assigning one to another would free a model before its gate is left
  std::vector<Block> results_;
};

}  // namespace

TEST(fragmentation_is_held_after_each_turn_of_the_housekeeper_while_models_and_results_come_and_go) {
  EngineOptions options;
  options.threads = 1, options.memory_limit = size_t{2} << 30, options.purge_after = 0;
  Engine engine(options);
  Churn churn(engine);
  double before = 0, most = 0;
  size_t used = 0, reserved = 0;
  for (int turn = 0; turn < 120; ++turn) {
    for (int i = 0; i < 10; ++i) churn.Step();
    for (const PoolStats& stats : engine.memory()->Stats()) before = std::max(before, stats.fragmentation);
    engine.Tend();
    for (const PoolStats& stats : engine.memory()->Stats()) {
      CHECK(stats.fragmentation < kMost, turn, " ", stats.pool, " ", stats.fragmentation, " of ", stats.cached);
      most = std::max(most, stats.fragmentation);
      used += stats.used, reserved += stats.reserved;
    }
    if (turn % 10 == 0) churn.Check();
  }
  churn.Check();
  CHECK(before > 2 * kMost, before);  // else there was nothing to hold
  CHECK(engine.memory()->Stats()[kWeightPool].moved > 10 << 20);
  CHECK(reserved < used * 3 / 2, reserved, " for ", used);
}
