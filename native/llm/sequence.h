// A request as it was asked for, and its sequences as they grow.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "llm/ngram.h"
#include "llm/tokens.h"

namespace ziggurat::llm {

// How the next token is chosen. Neutral as constructed, but for temperature 1 (0: the most likely token).
struct SamplingParams {
  int64_t max_tokens = std::numeric_limits<int32_t>::max();
  int64_t min_tokens = 0;  // until so many, tokens that would end the sequence are not drawn
  float temperature = 1;
  int top_k = 0;  // 0: off
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;  // over prompt and output
  float presence_penalty = 0;    // over the output
  float frequency_penalty = 0;   // over the output
  std::vector<std::pair<TokenId, float>> logit_bias;
  uint64_t seed = 0;
  std::optional<int> logprobs;         // how many alternatives to report beside the chosen token
  std::optional<int> prompt_logprobs;  // likewise for each token of the prompt
  std::vector<TokenId> stop_token_ids;
  bool ignore_eos = false;
  bool constrained = false;  // the caller hands in a mask of allowed tokens for each draw

  bool HasPenalties() const { return repetition_penalty != 1 || presence_penalty != 0 || frequency_penalty != 0; }
};

struct Request {
  int64_t id = 0;  // ascending in order of arrival
  std::vector<TokenId> prompt;
  SamplingParams sampling;
  int n = 1;
  int priority = 0;        // higher goes first
  std::string salt;        // prefixes are shared among equal salts only
  int64_t max_length = 0;  // of prompt and output together: the context, or what the pool can hold
};

// How often each token occurred; only what occurred takes space.
class TokenCounts {
 public:
  struct Count {
    TokenId token;
    int output = 0;  // occurrences among generated tokens
  };
  void AddPrompt(TokenId token) { At(token); }
  void AddOutput(TokenId token) { ++At(token).output; }
  const std::vector<Count>& counts() const { return counts_; }

 private:
  Count& At(TokenId token) {
    const auto [found, fresh] = places_.try_emplace(token, counts_.size());
    if (fresh) counts_.push_back({token, 0});
    return counts_[found->second];
  }
  std::unordered_map<TokenId, size_t> places_;
  std::vector<Count> counts_;
};

using TopTokens = std::vector<std::pair<TokenId, float>>;  // (id, log probability), most likely first

struct PromptLogprob {
  TokenId token = kNoToken;
  std::optional<float> logprob;  // none for the first token, which nothing predicts
  TopTokens top;
};

enum class Finish : uint8_t { kNone, kStop, kLength, kCancelled, kError };
enum class Phase : uint8_t {
  kFollowing,  // waits for the sequence of the same request that computes their prompt
  kWaiting,    // for admission; also after preemption
  kRunning,    // holds blocks
  kFinished,
};

// One continuation. Its first `computed` tokens have keys and values in `blocks`; the rest must be fed.
struct Sequence {
  Sequence(std::shared_ptr<const Request> r, int i) : request(std::move(r)), index(i), tokens(request->prompt) {
    if (!request->sampling.HasPenalties()) return;
    for (TokenId token : request->prompt) counts.AddPrompt(token);
  }

  std::shared_ptr<const Request> request;
  int index;  // among the request's n
  Phase phase = Phase::kWaiting;
  std::vector<TokenId> tokens;  // prompt, then output
  int64_t computed = 0;
  std::vector<int> blocks;
  int published = 0;  // how many of the blocks were offered to the prefix index
  TokenCounts counts;
  std::vector<TokenId> drafts;  // guesses that follow `tokens`, to be checked in the next step
  NgramDrafter drafter;

  // Kept by the scheduler.
  int64_t rank = 0;         // its priority, and while it waits or once it waited long, more
  int64_t waits_since = 0;  // in steps
  int64_t last_step = -1;   // in which it was last given tokens
  int cached_tokens = -1;   // of the prompt, found in the prefix cache at its first admission; -1: not admitted yet

  std::vector<PromptLogprob> prompt_logprobs;  // as far as computed
  bool reported = false;                       // its first event is out

  const SamplingParams& sampling() const { return request->sampling; }
  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  int64_t prompt_length() const { return static_cast<int64_t>(request->prompt.size()); }
  int64_t generated() const { return length() - prompt_length(); }
  int64_t Remaining() const { return length() - computed; }

  void Append(TokenId token) {
    tokens.push_back(token);
    if (sampling().HasPenalties()) counts.AddOutput(token);
  }
};

}  // namespace ziggurat::llm
