// Runs steps on a loaded decoder graph and a KV pool.
#pragma once

#include <memory>
#include <optional>

#include "device/kv_pool.h"
#include "llm/runner.h"
#include "runtime/model.h"

namespace ziggurat::llm {

class ModelRunner : public StepRunner {
 public:
  // Throws kInvalidModel unless the model's inputs are tokens, positions, slots, starts, blocks, rows (int64; those it
  // has no use for may lack) and kv, and one of its outputs is logits.
  ModelRunner(std::shared_ptr<Model> model, std::shared_ptr<KvPool> pool);

  std::span<float> Run(const StepInputs& inputs) override;
  void CopyBlock(int from, int to) override { pool_->CopyBlock(from, to); }

 private:
  std::shared_ptr<Model> model_;
  std::shared_ptr<KvPool> pool_;
  size_t logits_ = 0;            // which output
  std::vector<Output> outputs_;  // of the last run
};

// How many blocks a KV pool gets: what fits into `bytes`, or where none are given into half of what the budget has
// left, but no more than `sequences` of `context` tokens could use. Throws kInvalidArgument or kOutOfMemory where not
// one block fits.
int64_t ChooseBlocks(const KvShape& shape, const Budget& budget, std::optional<int64_t> bytes, int64_t context,
                     int64_t sequences);

}  // namespace ziggurat::llm
