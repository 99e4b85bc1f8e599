#include "llm/generator.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace ziggurat::llm {
namespace {

// The prefix index's key: nobody may know it.
HashKey RandomKey() {
  std::random_device device;
  auto word = [&] { return (uint64_t{device()} << 32) ^ device(); };
  return {word(), word()};
}

// Adds the time it lived, in seconds.
class Stopwatch {
 public:
  explicit Stopwatch(double& total) : total_(total) {}
  ~Stopwatch() { total_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  double& total_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

Generator::Generator(std::unique_ptr<StepRunner> runner, const GeneratorOptions& options, Team team,
                     const cpu::KernelTable& kernels)
    : options_(options),
      runner_(std::move(runner)),
      team_(team),
      pool_(options.blocks, options.block_tokens, options.prefix_cache, RandomKey(), options.hash_bits),
      scheduler_(options.scheduler, pool_),
      copies_(team.size()) {
  if (options_.scheduler.step_tokens < 1 || options_.scheduler.max_sequences < 1)
    throw Error(Code::kInvalidArgument, "step_tokens and max_sequences must be at least 1");
  for (int worker = 0; worker < team.size(); ++worker) samplers_.emplace_back(kernels, options_.eos);
}

Generator::~Generator() = default;

int64_t Generator::Add(Request request) {
  CheckRequest(request, limits());
  const int64_t prompt = static_cast<int64_t>(request.prompt.size());
  const int64_t most = std::min(options_.context, int64_t{options_.blocks} * options_.block_tokens);
  request.max_length = std::min(most, prompt + std::min(request.sampling.max_tokens, most));
  std::lock_guard lock(inbox_mutex_);
  const int64_t id = request.id = next_id_++;
  arrivals_.push_back(std::make_shared<const Request>(std::move(request)));
  return id;
}

void Generator::Cancel(int64_t request, std::optional<int> index) {
  std::lock_guard lock(inbox_mutex_);
  cancels_.emplace_back(request, index);
}

// Takes in what other threads left.
void Generator::Drain() {
  std::vector<std::shared_ptr<const Request>> arrivals;
  std::vector<std::pair<int64_t, std::optional<int>>> cancels;
  {
    std::lock_guard lock(inbox_mutex_);
    arrivals.swap(arrivals_);
    cancels.swap(cancels_);
  }
  for (auto& request : arrivals) {
    Entry& entry = requests_[request->id];
    for (int i = 0; i < request->n; ++i) entry.sequences.push_back(std::make_unique<Sequence>(request, i));
    entry.left = request->n;
    for (int i = 1; i < request->n; ++i) entry.sequences[i]->phase = Phase::kFollowing;
    following_ += request->n - 1;
    scheduler_.Add(*entry.sequences.front());
  }
  for (const auto& [request, index] : cancels) CancelNow(request, index);
}

void Generator::CancelNow(int64_t request, std::optional<int> index) {
  const auto found = requests_.find(request);
  if (found == requests_.end()) return;
  auto& sequences = found->second.sequences;
  if (index) {
    if (*index >= 0 && *index < static_cast<int>(sequences.size()) && sequences[*index])
      FinishNow(*sequences[*index], Finish::kCancelled, std::nullopt);
    return;
  }
  // Followers first, so that none is promoted in vain. The last one takes the entry with it.
  for (int left = found->second.left, i = static_cast<int>(sequences.size()) - 1; left > 0; --i)
    if (sequences[i]) --left, FinishNow(*sequences[i], Finish::kCancelled, std::nullopt);
}

TokenEvent Generator::EventOf(Sequence& sequence) {
  TokenEvent event;
  event.request = sequence.request->id;
  event.index = sequence.index;
  if (!sequence.reported) {
    sequence.reported = true;
    event.cached_tokens = std::max(0, sequence.cached_tokens);
    if (sequence.sampling().prompt_logprobs) event.prompt_logprobs = std::move(sequence.prompt_logprobs);
  }
  return event;
}

// Ends a sequence without a token, and lets go of it.
void Generator::FinishNow(Sequence& sequence, Finish finish, std::optional<Error> error) {
  TokenEvent event = EventOf(sequence);
  event.finish = finish;
  event.error = std::move(error);
  events_.push_back(std::move(event));
  Forget(sequence);
}

void Generator::Forget(Sequence& sequence) {
  for (Chunk& chunk : decision_.run)
    if (chunk.sequence == &sequence) chunk.sequence = nullptr;
  for (Draws& draws : draws_)
    if (draws.sequence == &sequence) draws.sequence = nullptr;
  const bool followed = sequence.phase == Phase::kFollowing;
  following_ -= followed;
  scheduler_.Remove(sequence);
  const int64_t id = sequence.request->id;
  const auto found = requests_.find(id);
  Entry& entry = found->second;
  entry.sequences[sequence.index].reset();
  if (--entry.left == 0) {
    requests_.erase(found);
    return;
  }
  if (followed) return;
  // Whoever followed it computes the prompt now; what was computed of it is in the prefix cache.
  for (auto& other : entry.sequences)
    if (other && other->phase != Phase::kFollowing) return;
  for (Draws& draws : draws_)
    if (draws.sequence && draws.sequence->request->id == id) draws.sequence = nullptr;
  const auto next = std::find_if(entry.sequences.begin(), entry.sequences.end(), [](auto& s) { return s != nullptr; });
  --following_;
  scheduler_.Add(**next);
}

std::optional<std::vector<Generator::MaskRow>> Generator::Schedule() {
  std::lock_guard lock(mutex_);
  const Stopwatch watch(counters_.schedule_time);
  if (state_ == State::kBusy) throw Error(Code::kInvalidArgument, "the model is running");
  state_ = State::kIdle;
  decision_ = {};  // of a step that was not finished nothing was taken in
  draws_.clear();
  Drain();
  if (options_.ngram) Propose();
  decision_ = scheduler_.Plan();
  if (decision_.run.empty() && events_.empty()) return std::nullopt;
  state_ = State::kScheduled;
  BuildStep(decision_.run, options_.block_tokens, inputs_);
  PlanDraws();
  std::vector<MaskRow> rows;
  for (const Draws& draws : draws_)
    if (draws.mask >= 0) rows.push_back({draws.sequence->request->id, draws.sequence->index});
  mask_rows_ = static_cast<int64_t>(rows.size());
  return rows;
}

void Generator::Forward() {
  {
    std::lock_guard lock(mutex_);
    if (state_ != State::kScheduled) throw Error(Code::kInvalidArgument, "no step is scheduled");
    state_ = State::kBusy;
    failure_.reset();
    logits_ = {};
  }
  std::optional<Error> failure;
  std::span<float> logits;
  double seconds = 0;
  if (!inputs_.tokens.empty()) {
    const Stopwatch watch(seconds);
    try {
      logits = runner_->Run(inputs_);
      if (logits.size() != inputs_.rows.size() * static_cast<size_t>(options_.vocab))
        failure = Error(Code::kInvalidModel, "the model gave ", logits.size(), " logits for ", inputs_.rows.size(),
                        " rows of ", options_.vocab);
    } catch (const Error& error) {
      failure = error;
    } catch (const std::bad_alloc&) {
      failure = Error(Code::kOutOfMemory, "no memory for a step of ", inputs_.tokens.size(), " tokens");
    } catch (const std::exception& error) {
      failure = Error(Code::kInternal, error.what());
    }
  }
  std::lock_guard lock(mutex_);
  counters_.forward_time += seconds;
  failure_ = std::move(failure);
  logits_ = logits;
  state_ = State::kForwarded;
}

std::vector<TokenEvent> Generator::Sample(const uint32_t* masks, int64_t mask_rows) {
  std::lock_guard lock(mutex_);
  const Stopwatch watch(counters_.sample_time);
  if (state_ != State::kForwarded) throw Error(Code::kInvalidArgument, "no model run to draw from");
  if (!failure_ && mask_rows != mask_rows_)
    throw Error(Code::kInvalidArgument, "the step draws ", mask_rows_, " tokens under a mask, got ", mask_rows,
                " masks");
  state_ = State::kIdle;
  Drain();
  if (failure_) {
    if (!MakeDoWithLess()) FailStep();
  } else {
    ++counters_.steps;
    RunDraws(masks);
    for (size_t i = 0; i < decision_.run.size(); ++i)
      if (decision_.run[i].sequence) Commit(i);
  }
  decision_ = {};
  draws_.clear();
  return std::exchange(events_, {});
}

// Where memory ran out: smaller steps from now on, or one sequence less. Nothing was computed, so nothing is undone.
bool Generator::MakeDoWithLess() {
  if (failure_->code() != Code::kOutOfMemory || scheduler_.running().empty()) return false;
  const int64_t tokens = static_cast<int64_t>(inputs_.tokens.size());
  if (tokens == 1) {
    Fail(*scheduler_.running().back());
  } else {
    scheduler_.Shrink(tokens / 2);
    ++counters_.memory_retries;
  }
  return true;
}

// All sequences of the step end with the error; what they computed before stays valid, and so does everybody else's.
void Generator::FailStep() {
  for (size_t i = 0; i < decision_.run.size(); ++i)
    if (decision_.run[i].sequence) Fail(*decision_.run[i].sequence);
}

void Generator::Fail(Sequence& sequence) {
  for (auto& other :
       requests_.find(sequence.request->id)->second.sequences)  // who waits for its prompt shares its fate
    if (other && other->phase == Phase::kFollowing && sequence.generated() == 0)
      FinishNow(*other, Finish::kError, failure_);
  FinishNow(sequence, Finish::kError, failure_);
}

std::vector<float> Generator::Logits(std::span<const TokenId> tokens) {
  auto request = std::make_shared<Request>();
  request->prompt.assign(tokens.begin(), tokens.end());
  request->sampling.max_tokens = 0;
  CheckRequest(*request, limits());
  Sequence sequence(request, 0);
  {
    std::lock_guard lock(mutex_);
    if (state_ != State::kIdle) throw Error(Code::kInvalidArgument, "the step before is not finished");
    const int64_t wanted = (sequence.length() + options_.block_tokens - 1) / options_.block_tokens;
    if (wanted > pool_.available())
      throw Error(Code::kOutOfMemory, "the tokens need ", wanted, " KV blocks, ", pool_.available(), " of ",
                  pool_.total(), " are not held by sequences");
    while (static_cast<int64_t>(sequence.blocks.size()) < wanted) sequence.blocks.push_back(pool_.Acquire());
    state_ = State::kBusy;
  }
  auto release = [&] {
    std::lock_guard lock(mutex_);
    pool_.ReleaseAll(sequence.blocks);
    state_ = State::kIdle;
  };
  std::vector<float> logits;
  try {
    logits.reserve(tokens.size() * static_cast<size_t>(options_.vocab));
    StepInputs inputs;
    for (int64_t start = 0; start < sequence.length(); start += options_.scheduler.step_tokens) {
      const Chunk chunk{&sequence, start, std::min<int64_t>(options_.scheduler.step_tokens, sequence.length() - start),
                        0};
      BuildStep({&chunk, 1}, options_.block_tokens, inputs);
      inputs.rows.clear();
      for (int64_t i = 0; i < chunk.count; ++i) inputs.rows.push_back(i);
      const std::span<const float> part = runner_->Run(inputs);
      logits.insert(logits.end(), part.begin(), part.end());
    }
  } catch (...) {
    release();
    throw;
  }
  release();
  return logits;
}

Counters Generator::counters() const {
  size_t arrived;
  {
    std::lock_guard inbox(inbox_mutex_);
    arrived = arrivals_.size();
  }
  std::lock_guard lock(mutex_);
  Counters out = counters_;
  out.running = static_cast<int64_t>(scheduler_.running().size());
  out.waiting = static_cast<int64_t>(scheduler_.waiting() + arrived) + following_;
  out.kv_blocks_used = pool_.held();
  out.kv_blocks_cached = pool_.cached();
  out.kv_blocks_total = pool_.total();
  out.prefix_hit_tokens = scheduler_.prefix_hit_tokens();
  out.prefix_query_tokens = scheduler_.prefix_query_tokens();
  out.prompt_tokens = scheduler_.prefix_query_tokens();
  out.preemptions = scheduler_.preemptions();
  return out;
}

void Generator::CheckInvariants() const {
  std::lock_guard lock(mutex_);
  std::vector<int> holders(pool_.total(), 0);
  size_t live = 0, running = 0, waiting = 0, following = 0;
  for (const auto& [id, entry] : requests_) {
    int left = 0;
    for (const auto& s : entry.sequences) {
      if (!s) continue;
      ++left;
      running += s->phase == Phase::kRunning;
      waiting += s->phase == Phase::kWaiting;
      following += s->phase == Phase::kFollowing;
      ZIGGURAT_CHECK(s->phase == Phase::kRunning || (s->blocks.empty() && s->computed == 0));
      ZIGGURAT_CHECK(s->computed < s->length() && s->length() <= s->request->max_length);
      ZIGGURAT_CHECK(static_cast<int64_t>(s->blocks.size()) * options_.block_tokens >= s->computed);
      ZIGGURAT_CHECK(s->published <= static_cast<int>(s->blocks.size()));
      for (int block : s->blocks) ++holders[block];
    }
    ZIGGURAT_CHECK(left == entry.left && left > 0);
    live += left;
  }
  ZIGGURAT_CHECK(running == scheduler_.running().size() && waiting == scheduler_.waiting());
  ZIGGURAT_CHECK(static_cast<int64_t>(following) == following_ && live == running + waiting + following);
  pool_.CheckInvariants(holders);
}

}  // namespace ziggurat::llm
