#include "llm/check_request.h"

#include <algorithm>
#include <cmath>

namespace ziggurat::llm {
namespace {

constexpr int kMostSequences = 1024;

template <typename T, typename... Range>
void Require(bool holds, const char* name, const T& value, const Range&... range) {
  if (!holds) throw Error(Code::kInvalidArgument, name, " must be ", range..., ", not ", value);
}

void CheckSampling(const SamplingParams& p, int64_t vocab) {
  Require(std::isfinite(p.temperature) && p.temperature >= 0, "temperature", p.temperature, "0 or more");
  Require(p.top_k >= 0, "top_k", p.top_k, "0 (off) or more");
  Require(p.top_p > 0 && p.top_p <= 1, "top_p", p.top_p, "above 0 and at most 1");
  Require(p.min_p >= 0 && p.min_p <= 1, "min_p", p.min_p, "between 0 and 1");
  Require(std::isfinite(p.repetition_penalty) && p.repetition_penalty > 0, "repetition_penalty", p.repetition_penalty,
          "above 0");
  Require(std::isfinite(p.presence_penalty), "presence_penalty", p.presence_penalty, "a finite number");
  Require(std::isfinite(p.frequency_penalty), "frequency_penalty", p.frequency_penalty, "a finite number");
  Require(p.max_tokens >= 0, "max_tokens", p.max_tokens, "0 or more");
  Require(p.min_tokens >= 0 && p.min_tokens <= p.max_tokens, "min_tokens", p.min_tokens, "between 0 and max_tokens (",
          p.max_tokens, ")");
  for (const auto& [token, bias] : p.logit_bias) {
    Require(token >= 0 && token < vocab, "logit_bias: a token id", token, "below ", vocab);
    Require(std::isfinite(bias), "logit_bias: a bias", bias, "a finite number");
  }
  for (TokenId token : p.stop_token_ids)
    Require(token >= 0 && token < vocab, "stop_token_ids: a token id", token, "below ", vocab);
  if (p.logprobs) Require(*p.logprobs >= 0 && *p.logprobs <= vocab, "logprobs", *p.logprobs, "between 0 and ", vocab);
  if (p.prompt_logprobs)
    Require(*p.prompt_logprobs >= 0 && *p.prompt_logprobs <= vocab, "prompt_logprobs", *p.prompt_logprobs,
            "between 0 and ", vocab);
}

}  // namespace

void CheckRequest(const Request& request, const RequestLimits& limits) {
  const int64_t prompt = static_cast<int64_t>(request.prompt.size());
  if (prompt == 0) throw Error(Code::kInvalidArgument, "the prompt has no tokens");
  Require(request.n >= 1 && request.n <= kMostSequences, "n", request.n, "between 1 and ", kMostSequences);
  CheckSampling(request.sampling, limits.vocab);
  for (int64_t i = 0; i < prompt; ++i)
    if (request.prompt[i] < 0 || request.prompt[i] >= limits.vocab)
      throw Error(Code::kInvalidArgument, "token ", i, " of the prompt is ", request.prompt[i],
                  ", the vocabulary has ids 0 to ", limits.vocab - 1);
  const int64_t wanted = std::min<int64_t>(1, request.sampling.max_tokens);
  if (prompt + wanted > limits.context) throw PromptTooLong(prompt, limits.context);
  // A length that was asked for is promised; one that was not ends where the pool does.
  const bool open = request.sampling.max_tokens == SamplingParams{}.max_tokens;
  const int64_t length = open ? prompt + 1 : std::min(limits.context, prompt + request.sampling.max_tokens);
  const int64_t blocks = (length + limits.block_tokens - 1) / limits.block_tokens;
  if (blocks > limits.blocks)
    throw Error(Code::kOutOfMemory, "a prompt of ", prompt, " tokens and ", length - prompt, " new ones need ", blocks,
                " KV blocks, the pool has ", limits.blocks, " (of ", limits.block_tokens, " tokens each)");
}

}  // namespace ziggurat::llm
