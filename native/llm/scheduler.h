// Decides which tokens of which sequences the next step computes. Takes and returns blocks of the pool, calls no
// device.
//
// A step has a budget of tokens: sequences that generate go first, one token each (and their guesses while there is
// room); the rest goes to prompts, in chunks, those that are under way before new ones. Sequences come in order of
// rank (their priority, plus one for every kAgingSteps steps of waiting), then of arrival. The first that cannot be
// admitted holds back those behind it, so that a large one does not starve. When a running sequence needs a block and
// there is none, the last in that order gives all its blocks back and is computed again later; a waiting one of higher
// priority takes blocks from running ones of lower rank the same way.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "llm/block_pool.h"
#include "llm/sequence.h"

namespace ziggurat::llm {

struct SchedulerOptions {
  int step_tokens = 256;
  int max_sequences = 64;  // running at once
  // Rows of a vocabulary's size that one sequence may ask for in a step, for its prompt's log probabilities.
  int prompt_rows = 64;
};

// `count` tokens of the sequence from `start` on, then `drafts` guesses.
struct Chunk {
  Sequence* sequence = nullptr;
  int64_t start = 0;
  int64_t count = 0;
  int drafts = 0;
  int64_t Total() const { return count + drafts; }
  // Whether a token is to be drawn after it.
  bool Samples() const { return start + count == sequence->length(); }
};

struct Decision {
  std::vector<Chunk> run;
  std::vector<Sequence*> preempted;
};

// Not thread-safe. Sequences belong to the caller and outlive their stay.
class Scheduler {
 public:
  static constexpr int64_t kAgingSteps = 256;
  static constexpr int kShrunkSteps = 32;

  Scheduler(const SchedulerOptions& options, BlockPool& pool)
      : options_(options), pool_(pool), step_tokens_(options.step_tokens) {}

  // Queues a sequence that has no blocks.
  void Add(Sequence& sequence);
  // Takes over one that holds its blocks already (a fork). False where max_sequences run.
  bool Adopt(Sequence& sequence);
  // Forgets the sequence, which becomes kFinished; its blocks go back.
  void Remove(Sequence& sequence);
  Decision Plan();

  // Steps are of at most so many tokens for a while: kShrunkSteps of them, then of twice as many, up to step_tokens.
  void Shrink(int64_t tokens);

  std::span<Sequence* const> running() const { return running_; }
  size_t waiting() const { return waiting_count_; }
  int64_t preemptions() const { return preemptions_; }
  int64_t prefix_hit_tokens() const { return prefix_hit_tokens_; }
  int64_t prefix_query_tokens() const { return prefix_query_tokens_; }

 private:
  using Queue = std::map<std::pair<int64_t, int>, Sequence*>;  // by arrival, index

  void PlanDecodes(Decision& decision);
  void PlanPrompts(Decision& decision);
  void PlanAdmissions(Decision& decision);
  void Give(Sequence& sequence, int64_t count, int drafts, Decision& decision);
  bool GrowTo(Sequence& sequence, int64_t tokens, Decision& decision);
  bool TakeBlocks(Sequence& sequence, int64_t tokens);
  bool Admit(Sequence& sequence, Decision& decision);
  bool MayTakeFrom(const Sequence& sequence) const;
  void Preempt(Sequence& sequence, Decision& decision);
  void InsertRunning(Sequence& sequence);
  Sequence* BestWaiting();
  int64_t BlocksFor(int64_t tokens) const { return (tokens + pool_.block_tokens() - 1) / pool_.block_tokens(); }

  const SchedulerOptions options_;
  BlockPool& pool_;
  std::map<int, Queue> waiting_;  // by priority
  size_t waiting_count_ = 0;
  std::vector<Sequence*> running_;  // first to serve first
  int64_t step_ = 0;
  int64_t step_tokens_;  // at present
  int shrunk_ = 0;       // steps until it doubles
  int64_t budget_ = 0;   // left in the step that is being planned
  int64_t preemptions_ = 0, prefix_hit_tokens_ = 0, prefix_query_tokens_ = 0;
};

}  // namespace ziggurat::llm
