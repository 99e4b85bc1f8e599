#include "llm/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "llm/philox.h"

namespace ziggurat::llm {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
// Below it the division by the temperature has no meaning in float32, and the most likely token wins anyway.
constexpr float kGreedyBelow = 1e-5f;
// How many candidates top-p looks at before it takes the way that suits any number.
constexpr size_t kFewTokens = 64;

}  // namespace

void ApplyMask(std::span<float> row, const uint32_t* mask) {
  for (size_t start = 0; start < row.size(); start += 32) {
    const uint32_t word = mask[start / 32];
    if (word == ~uint32_t{0}) continue;
    const size_t end = std::min(row.size(), start + 32);
    if (word == 0)
      std::fill(row.begin() + start, row.begin() + end, kNever);
    else
      for (size_t i = start; i < end; ++i)
        if (!(word >> (i - start) & 1)) row[i] = kNever;
  }
}

void Sampler::CheckFinite() const {
  if (std::isnan(scan_.max()) || scan_.max() == std::numeric_limits<float>::infinity())
    throw Error(Code::kInvalidModel, "the model's logits are not finite");
}

void Sampler::Report(int top, TopTokens& out) {
  const float total = scan_.LogSumExp();
  scan_.Top(top, candidates_);
  out.reserve(candidates_.size());
  for (const Candidate& candidate : candidates_) out.emplace_back(candidate.token, candidate.logit - total);
}

PromptLogprob Sampler::Score(std::span<const float> row, TokenId token, int top) {
  scan_.Scan(row);
  CheckFinite();
  PromptLogprob score{token, row[token] - scan_.LogSumExp(), {}};
  Report(top, score.top);
  return score;
}

Draw Sampler::Next(std::span<float> row, const Sequence& sequence, const uint32_t* mask) {
  const SamplingParams& params = sequence.sampling();
  Draw draw;
  scan_.Scan(row);
  CheckFinite();
  float total = 0;
  if (params.logprobs) {
    total = scan_.LogSumExp();
    Report(*params.logprobs, draw.top);
  }
  if (Modify(row, sequence, mask)) {
    scan_.Scan(row);
    if (scan_.max() == kNever && forbidden_from_ < before_.size()) {
      // A grammar that allows nothing but the end outranks min_tokens.
      for (size_t i = before_.size(); i-- > forbidden_from_;) row[before_[i].first] = before_[i].second;
      before_.resize(forbidden_from_);
      scan_.Scan(row);
    }
  }
  if (scan_.max() == kNever) throw Error(Code::kInvalidArgument, "no token is allowed at position ", sequence.length());
  draw.token = Choose(params, UniformAt(params.seed, sequence.index, sequence.length()));
  if (params.logprobs) {
    float logit = row[draw.token];
    for (const auto& [token, value] : before_)
      if (token == draw.token) {
        logit = value;
        break;
      }
    draw.logprob = logit - total;
  }
  return draw;
}

void Sampler::Change(std::span<float> row, TokenId token, float value) {
  before_.emplace_back(token, row[token]);
  row[token] = value;
}

// Returns whether anything was changed.
bool Sampler::Modify(std::span<float> row, const Sequence& sequence, const uint32_t* mask) {
  const SamplingParams& params = sequence.sampling();
  before_.clear();
  if (mask) ApplyMask(row, mask);
  for (const auto& [token, bias] : params.logit_bias) Change(row, token, row[token] + bias);
  if (params.HasPenalties())
    for (const TokenCounts::Count& count : sequence.counts.counts()) {
      float logit = row[count.token];
      if (params.repetition_penalty != 1)
        logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
      if (count.output > 0)
        logit -= params.frequency_penalty * static_cast<float>(count.output) + params.presence_penalty;
      Change(row, count.token, logit);
    }
  forbidden_from_ = before_.size();
  if (sequence.generated() < params.min_tokens) Forbid(row, sequence);
  return mask || !before_.empty();
}

void Sampler::Forbid(std::span<float> row, const Sequence& sequence) {
  for (TokenId token : eos_) Change(row, token, kNever);
  for (TokenId token : sequence.sampling().stop_token_ids) Change(row, token, kNever);
}

TokenId Sampler::Choose(const SamplingParams& params, double uniform) {
  if (params.temperature < kGreedyBelow) return scan_.ArgMax();
  if (params.top_k > 0 || params.min_p > 0 || params.top_p < 1) return ChooseAmong(params, uniform);
  const float scale = 1 / params.temperature;
  const double total = scan_.WeighBlocks(scale, sums_);
  return scan_.Locate(uniform * total, scale, sums_);
}

TokenId Sampler::ChooseAmong(const SamplingParams& params, double uniform) {
  const float scale = 1 / params.temperature;
  if (params.top_k == 0 && params.min_p == 0) return ChooseFromNucleus(params.top_p, scale, uniform);
  if (params.top_k > 0) {
    scan_.Top(params.top_k, candidates_);
  } else {
    // A little below the bound, which the weights then decide exactly.
    const float bound = std::log(params.min_p) * params.temperature;
    scan_.AtLeast(scan_.max() + bound - 1e-3f * std::max(1.0f, std::abs(bound)), candidates_);
    if (params.top_p < 1) std::sort(candidates_.begin(), candidates_.end());
  }
  scan_.Weigh(candidates_, scale, weights_);
  if (params.min_p > 0) {
    size_t kept = 0;
    for (size_t i = 0; i < candidates_.size(); ++i)
      if (weights_[i] >= params.min_p) candidates_[kept] = candidates_[i], weights_[kept++] = weights_[i];
    candidates_.resize(kept);
    weights_.resize(kept);
  }
  if (params.top_p < 1) {
    double total = 0, sum = 0;
    for (float weight : weights_) total += weight;
    size_t kept = 0;
    while (kept < weights_.size() && (kept == 0 || sum < params.top_p * total)) sum += weights_[kept++];
    candidates_.resize(kept);
    weights_.resize(kept);
  }
  return Pick(uniform);
}

// Among the most likely tokens that together have at least top_p of the whole row's mass: mostly a few.
TokenId Sampler::ChooseFromNucleus(float top_p, float scale, double uniform) {
  const double wanted = top_p * scan_.WeighBlocks(scale, sums_);
  scan_.Top(kFewTokens, candidates_);
  scan_.Weigh(candidates_, scale, weights_);
  double sum = 0;
  size_t kept = 0;
  while (kept < weights_.size() && (kept == 0 || sum < wanted)) sum += weights_[kept++];
  if (sum < wanted && candidates_.size() == kFewTokens) return scan_.DrawHeaviest(wanted, scale, uniform);
  weights_.resize(kept);
  return Pick(uniform);
}

TokenId Sampler::Pick(double uniform) const {
  double total = 0, sum = 0;
  for (float weight : weights_) total += weight;
  const double target = uniform * total;
  for (size_t i = 0; i < weights_.size(); ++i)
    if ((sum += weights_[i]) > target) return candidates_[i].token;
  return candidates_.front().token;
}

}  // namespace ziggurat::llm
