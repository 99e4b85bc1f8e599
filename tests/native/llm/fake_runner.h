// A decoder without arithmetic: a slot remembers which token was written there, and a row of logits is a hash of the
// tokens that its query sees through the block table. Whoever mixes up blocks gets other logits, or is caught reading
// a slot that holds nothing of that position.
#pragma once

#include <cmath>
#include <functional>

#include "check.h"
#include "llm/generator.h"

namespace ziggurat::llm::test {

inline uint64_t Mix(uint64_t x) {
  x ^= x >> 33, x *= 0xff51afd7ed558ccdu, x ^= x >> 33, x *= 0xc4ceb9fe1a85ec53u;
  return x ^ x >> 33;
}

// Logits after a context whose tokens hash to `state`.
inline void FakeLogits(uint64_t state, std::span<float> row) {
  for (size_t v = 0; v < row.size(); ++v) row[v] = static_cast<float>(Mix(state + v * 77) % 4096) / 512.0f;
}
inline uint64_t FakeState(uint64_t state, TokenId token) { return Mix(state * 31 + static_cast<uint64_t>(token) + 1); }

class FakeRunner : public StepRunner {
 public:
  FakeRunner(int64_t vocab, int blocks, int block_tokens) : vocab_(vocab), size_(block_tokens) {
    slots_.resize(static_cast<size_t>(blocks) * block_tokens, {kNoToken, -1});
  }

  std::span<float> Run(const StepInputs& in) override {
    if (before_run) before_run(in);
    CHECK(in.starts.size() == static_cast<size_t>(in.sequences) + 1);
    CHECK(in.blocks.size() == static_cast<size_t>(in.sequences * in.blocks_per_sequence));
    std::vector<char> written(slots_.size(), 0);
    for (size_t t = 0; t < in.tokens.size(); ++t) {
      CHECK(!written[in.slots[t]], "two tokens in one slot");
      written[in.slots[t]] = 1;
      slots_[in.slots[t]] = {static_cast<TokenId>(in.tokens[t]), in.positions[t]};
    }
    logits_.resize(in.rows.size() * vocab_);
    for (size_t r = 0; r < in.rows.size(); ++r) {
      int64_t sequence = 0;
      while (in.starts[sequence + 1] <= in.rows[r]) ++sequence;
      uint64_t state = 0;
      for (int64_t p = 0; p <= in.positions[in.rows[r]]; ++p) {
        const int64_t block = in.blocks[sequence * in.blocks_per_sequence + p / size_];
        const auto& [token, position] = slots_[block * size_ + p % size_];
        CHECK(position == p, "slot of position ", p, " holds ", position);
        state = FakeState(state, token);
      }
      FakeLogits(state, {logits_.data() + r * vocab_, static_cast<size_t>(vocab_)});
    }
    tokens_run += static_cast<int64_t>(in.tokens.size());
    largest_step = std::max(largest_step, static_cast<int64_t>(in.tokens.size()));
    return logits_;
  }
  void CopyBlock(int from, int to) override {
    std::copy_n(slots_.begin() + int64_t{from} * size_, size_, slots_.begin() + int64_t{to} * size_);
    ++copies;
  }

  std::function<void(const StepInputs&)> before_run;
  int64_t tokens_run = 0, largest_step = 0;
  int copies = 0;

 private:
  const int64_t vocab_, size_;
  std::vector<std::pair<TokenId, int64_t>> slots_;
  std::vector<float> logits_;
};

// What one sequence was given, put together from its events.
struct Heard {
  std::vector<TokenId> tokens;
  std::vector<float> logprobs;
  std::vector<PromptLogprob> prompt;
  Finish finish = Finish::kNone;
  int cached = -1;
  std::string error;
  friend bool operator==(const Heard& a, const Heard& b) {
    return a.tokens == b.tokens && a.finish == b.finish && a.logprobs.size() == b.logprobs.size() &&
           std::equal(a.logprobs.begin(), a.logprobs.end(), b.logprobs.begin(),
                      [](float x, float y) { return std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(y); });
  }
};
using Transcript = std::map<std::pair<int64_t, int>, Heard>;

inline void Hear(const std::vector<TokenEvent>& events, Transcript& heard) {
  for (const TokenEvent& event : events) {
    Heard& h = heard[{event.request, event.index}];
    CHECK(h.finish == Finish::kNone, "an event after the last");
    CHECK(event.cached_tokens.has_value() == (h.cached < 0), "cached_tokens comes with the first event only");
    if (event.cached_tokens) h.cached = *event.cached_tokens;
    if (event.prompt_logprobs) h.prompt = *event.prompt_logprobs;
    if (event.token != kNoToken) h.tokens.push_back(event.token);
    if (event.logprob) h.logprobs.push_back(*event.logprob);
    if (event.error) h.error = event.error->what();
    h.finish = event.finish;
  }
}

struct Rig {
  explicit Rig(GeneratorOptions options, int threads = 1)
      : pool(threads),
        runner(new FakeRunner(options.vocab, options.blocks, options.block_tokens)),
        generator(std::unique_ptr<StepRunner>(runner), options, Team(pool, threads), cpu::SelectKernels({})) {}

  // One step; false where there is nothing to do.
  bool Step() {
    const auto rows = generator.Schedule();
    if (!rows) return false;
    std::vector<uint32_t> masks;
    const size_t words = (generator.options().vocab + 31) / 32;
    for (const auto& row : *rows) {
      std::vector<uint32_t> mask(words, ~uint32_t{0});
      if (mask_of) mask = mask_of(row);
      masks.insert(masks.end(), mask.begin(), mask.end());
    }
    generator.Forward();
    Hear(generator.Sample(masks.data(), static_cast<int64_t>(rows->size())), heard);
    generator.CheckInvariants();
    return true;
  }
  void RunAll(int most = 100000) {
    while (Step()) CHECK(--most > 0, "no end in sight");
  }

  ThreadPool pool;
  FakeRunner* runner;
  Generator generator;
  Transcript heard;
  std::function<std::vector<uint32_t>(const Generator::MaskRow&)> mask_of;
};

inline GeneratorOptions SmallOptions() {
  GeneratorOptions options;
  options.vocab = 61;
  options.context = 400;
  options.blocks = 64;
  options.block_tokens = 8;
  options.scheduler = {.step_tokens = 32, .max_sequences = 20, .prompt_rows = 5};
  options.eos = {3};
  return options;
}

inline std::vector<TokenId> SomeTokens(int count, uint64_t seed, int64_t vocab = 61) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(static_cast<TokenId>(Mix(seed * 1000 + i) % vocab));
  return tokens;
}

inline Request SomeRequest(int prompt, uint64_t seed, int64_t max_tokens) {
  Request request;
  request.prompt = SomeTokens(prompt, seed);
  request.sampling.max_tokens = max_tokens;
  request.sampling.seed = seed;
  request.sampling.logprobs = 2;
  return request;
}

}  // namespace ziggurat::llm::test
