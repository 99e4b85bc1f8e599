// From a row of logits to a token: a function of the row, the request's parameters, the sequence so far and
// (seed, index, position), and of nothing else.
//
// In this order, as vLLM does it: mask of allowed tokens, logit bias, tokens forbidden by min_tokens, penalties
// (repetition over prompt and output as in CTRL, Keskar et al. 2019; presence and frequency over the output, as OpenAI
// defines them), temperature, min-p, top-k, top-p over what is left, and a draw. Among equal logits lower ids come
// first. Log probabilities are those of the model's own distribution, before any of this (vLLM's "raw_logprobs").
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "llm/candidates.h"
#include "llm/sequence.h"

namespace ziggurat::llm {

struct Draw {
  TokenId token = kNoToken;
  float logprob = 0;  // where asked for
  TopTokens top;
};

// One worker's memory.
class Sampler {
 public:
  // `eos`: tokens that end a sequence unless it ignores them.
  Sampler(const cpu::KernelTable& kernels, std::span<const TokenId> eos) : scan_(kernels), eos_(eos) {}

  // Draws the token that follows the sequence. `mask`: null, or a bit for each token, set where it is allowed, in
  // words of 32. Changes the row. Throws kInvalidModel for logits that are not finite, kInvalidArgument where no token
  // is allowed.
  Draw Next(std::span<float> row, const Sequence& sequence, const uint32_t* mask);
  // The row's opinion of `token`, and its `top` most likely ones.
  PromptLogprob Score(std::span<const float> row, TokenId token, int top);

 private:
  void CheckFinite() const;
  void Report(int top, TopTokens& out);
  bool Modify(std::span<float> row, const Sequence& sequence, const uint32_t* mask);
  void Forbid(std::span<float> row, const Sequence& sequence);
  void Change(std::span<float> row, TokenId token, float value);
  TokenId Choose(const SamplingParams& params, double uniform);
  TokenId ChooseAmong(const SamplingParams& params, double uniform);
  TokenId ChooseFromNucleus(float top_p, float scale, double uniform);
  TokenId Pick(double uniform) const;

  RowScan scan_;
  std::span<const TokenId> eos_;
  std::vector<Candidate> candidates_;
  std::vector<float> weights_, sums_;
  std::vector<std::pair<TokenId, float>> before_;  // logits that were changed, as the model gave them
  size_t forbidden_from_ = 0;                      // where in `before_` those of min_tokens begin
};

// Clears what the mask does not allow.
void ApplyMask(std::span<float> row, const uint32_t* mask);

}  // namespace ziggurat::llm
