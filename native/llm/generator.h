// Continuous batching over one decoder: requests come and go at any time, every step runs what the scheduler chose.
//
// One thread drives the steps: Schedule, Forward, Sample, in this order, each taking microseconds to milliseconds but
// for Forward, which is the model run. Add, Cancel and Counters may be called from any thread at any time; they wait
// for no model run. What a request gets depends on its own prompt, parameters and seed only: not on who shares the
// step, how prompts are cut, what was cached or preempted.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/thread_pool.h"
#include "llm/block_pool.h"
#include "llm/check_request.h"
#include "llm/runner.h"
#include "llm/sampler.h"
#include "llm/scheduler.h"

namespace ziggurat::llm {

struct GeneratorOptions {
  int64_t vocab = 0;
  int64_t context = 0;  // positions the model has
  int blocks = 0;
  int block_tokens = 32;
  bool prefix_cache = true;
  bool ngram = false;  // guess ahead (ngram.h)
  int guess_rows = 8;  // guesses are made while a step decodes fewer rows than this: up to there rows are cheap
  SchedulerOptions scheduler;
  std::vector<TokenId> eos;
  int hash_bits = 128;  // tests shrink it, to make hashes collide
};

struct TokenEvent {
  int64_t request = 0;
  int index = 0;
  TokenId token = kNoToken;  // none where the sequence ended without one
  std::optional<float> logprob;
  std::optional<TopTokens> top;
  Finish finish = Finish::kNone;
  // On a sequence's first event only.
  std::optional<int> cached_tokens;
  std::optional<std::vector<PromptLogprob>> prompt_logprobs;
  std::optional<Error> error;  // with kError
};

struct Counters {
  int64_t running = 0, waiting = 0;  // sequences
  int64_t kv_blocks_used = 0, kv_blocks_cached = 0, kv_blocks_total = 0;
  int64_t prefix_hit_tokens = 0, prefix_query_tokens = 0;
  int64_t preemptions = 0;
  int64_t memory_retries = 0;  // steps that found no memory and were tried again smaller
  int64_t prompt_tokens = 0, generated_tokens = 0, computed_tokens = 0;
  int64_t draft_tokens = 0, accepted_tokens = 0;
  int64_t steps = 0;
  // Of all steps together, in seconds.
  double schedule_time = 0, forward_time = 0, sample_time = 0;
};

class Generator {
 public:
  // `team` and `kernels` belong to an engine that outlives the generator.
  Generator(std::unique_ptr<StepRunner> runner, const GeneratorOptions& options, Team team,
            const cpu::KernelTable& kernels);
  ~Generator();

  // Checks and queues; sets the request's id and returns it. Throws PromptTooLong; kInvalidArgument for parameters that
  // make no sense; kOutOfMemory for a request that the pool could not hold if it had it all.
  int64_t Add(Request request);
  // One sequence, or all of a request's. Takes effect before the next step; unknown ids are ignored.
  void Cancel(int64_t request, std::optional<int> index = std::nullopt);

  struct MaskRow {
    int64_t request;
    int index;
  };
  // Chooses the next step. The draws of it that need a mask, in the order of Sample's mask rows; nullopt where there is
  // nothing to do: no sequence can run and no event waits to be collected. A step that was begun and not finished is
  // forgotten, as if it had not been.
  std::optional<std::vector<MaskRow>> Schedule();
  // Runs the model on the chosen step. Its errors become events of the sequences in the step; but where memory runs out
  // the next steps are smaller, and only where one token does not fit either the sequence that came last ends.
  void Forward();
  // Draws the tokens. `masks`: a row of ceil(vocab / 32) words for each MaskRow. Throws kInvalidArgument, and changes
  // nothing, where their number is another one.
  std::vector<TokenEvent> Sample(const uint32_t* masks = nullptr, int64_t mask_rows = 0);

  // Logits of every token, [tokens, vocab], from a sequence of its own that leaves no trace. Between steps only.
  std::vector<float> Logits(std::span<const TokenId> tokens);

  Counters counters() const;
  const GeneratorOptions& options() const { return options_; }
  // Throws kInternal unless sequences, scheduler and pool agree.
  void CheckInvariants() const;

 private:
  struct Entry {                                       // a request that is not finished
    std::vector<std::unique_ptr<Sequence>> sequences;  // by index; null: finished
    int left = 0;
  };
  struct Draws {  // of one sequence in one step
    Sequence* sequence = nullptr;
    size_t chunk = 0;         // of the decision
    int64_t first_row = 0;    // of the logits
    bool shared_row = false;  // others draw from it too
    int64_t mask = -1;        // row of the masks; -1: none
    std::vector<Draw> drawn;  // one, and one more for each guess that was right
    Finish finish = Finish::kNone;
    std::optional<Error> error;
  };
  enum class State : uint8_t { kIdle, kScheduled, kBusy, kForwarded };

  RequestLimits limits() const { return {options_.vocab, options_.context, options_.blocks, options_.block_tokens}; }
  void Drain();
  void CancelNow(int64_t request, std::optional<int> index);
  TokenEvent EventOf(Sequence& sequence);
  void FinishNow(Sequence& sequence, Finish finish, std::optional<Error> error);
  void Forget(Sequence& sequence);
  void Propose();
  void PlanDraws();
  void RunDraws(const uint32_t* masks);
  void DrawRows(Draws& draws, const uint32_t* masks, int worker);
  void ScorePrompts();
  Finish FinishOf(const Sequence& sequence) const;
  void Commit(size_t chunk);
  void Publish(Sequence& sequence);
  void Fork(Sequence& leader, Sequence& follower);
  void Emit(Draws& draws);
  bool MakeDoWithLess();
  void FailStep();
  void Fail(Sequence& sequence);

  const GeneratorOptions options_;
  std::unique_ptr<StepRunner> runner_;
  Team team_;

  mutable std::mutex inbox_mutex_;  // guards what any thread leaves here
  std::vector<std::shared_ptr<const Request>> arrivals_;
  std::vector<std::pair<int64_t, std::optional<int>>> cancels_;
  int64_t next_id_ = 1;

  mutable std::mutex mutex_;  // guards all below, between steps; the driving thread alone changes it
  BlockPool pool_;
  Scheduler scheduler_;
  std::unordered_map<int64_t, Entry> requests_;
  int64_t following_ = 0;  // sequences in kFollowing
  std::vector<TokenEvent> events_;
  State state_ = State::kIdle;
  Decision decision_;
  std::vector<Draws> draws_;
  int64_t mask_rows_ = 0;
  StepInputs inputs_;
  std::span<float> logits_;
  std::optional<Error> failure_;
  std::vector<Sampler> samplers_;           // by worker
  std::vector<std::vector<float>> copies_;  // by worker: rows that several sequences draw from
  Counters counters_;
};

}  // namespace ziggurat::llm
