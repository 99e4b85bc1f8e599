#include "llm/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <random>
#include <set>

#include "check.h"
#include "llm/philox.h"

using namespace ziggurat;
using namespace ziggurat::llm;

namespace {

constexpr float kNever = -INFINITY;

std::vector<float> RandomRow(size_t n, uint32_t seed, float spread = 3) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> row(n);
  for (float& x : row) x = normal(random);
  return row;
}

Sequence Make(const SamplingParams& params, std::vector<TokenId> prompt = {1, 2, 3}) {
  auto request = std::make_shared<Request>();
  request->prompt = std::move(prompt);
  request->sampling = params;
  return Sequence(request, 0);
}

Draw Next(const cpu::KernelTable& kernels, std::vector<float> row, const Sequence& sequence,
          const uint32_t* mask = nullptr, std::vector<TokenId> eos = {}) {
  Sampler sampler(kernels, eos);
  return sampler.Next(row, sequence, mask);
}

// The definition, in double and with a full sort: which tokens may be drawn, and how likely each is.
std::map<TokenId, double> Distribution(const std::vector<float>& row, const SamplingParams& p) {
  std::vector<TokenId> order(row.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<TokenId>(i);
  std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) { return row[a] > row[b]; });
  std::vector<std::pair<TokenId, double>> kept;
  for (TokenId token : order) {
    const double weight = std::exp((double{row[token]} - row[order[0]]) / p.temperature);
    if (weight > 0 && weight >= p.min_p) kept.emplace_back(token, weight);
  }
  if (p.top_k > 0 && kept.size() > static_cast<size_t>(p.top_k)) kept.resize(p.top_k);
  double total = 0, sum = 0;
  for (auto& [token, weight] : kept) total += weight;
  size_t count = 0;
  while (count < kept.size() && (count == 0 || sum < p.top_p * total)) sum += kept[count++].second;
  kept.resize(count);
  std::map<TokenId, double> out;
  for (auto& [token, weight] : kept) out[token] = weight / sum;
  return out;
}

std::vector<const cpu::KernelTable*> AllKernels() {
  std::vector<const cpu::KernelTable*> tables;
  for (std::string_view isa : cpu::UsableIsas()) tables.push_back(&cpu::SelectKernels(std::string(isa)));
  return tables;
}

}  // namespace

TEST(top_tokens_are_those_of_a_full_sort_ties_by_id) {
  for (const auto* kernels : AllKernels())
    for (size_t n : {1, 5, 127, 128, 129, 1000, 50000}) {
      std::vector<float> row = RandomRow(n, static_cast<uint32_t>(n));
      for (float& x : row) x = std::round(x * 20) / 20;  // many ties
      for (size_t i = 0; i < n; i += 7) row[i] = kNever;
      std::vector<Candidate> all;
      for (size_t i = 0; i < n; ++i)
        if (row[i] != kNever) all.push_back({row[i], static_cast<TokenId>(i)});
      std::sort(all.begin(), all.end());
      RowScan scan(*kernels);
      scan.Scan(row);
      for (int64_t k : {0, 1, 2, 50, 500, 100000}) {
        std::vector<Candidate> top;
        scan.Top(k, top);
        CHECK(top.size() == std::min<size_t>(k, all.size()));
        for (size_t i = 0; i < top.size(); ++i) CHECK(top[i].token == all[i].token && top[i].logit == all[i].logit);
      }
      if (!all.empty()) CHECK(scan.ArgMax() == all[0].token && scan.max() == all[0].logit);
    }
}

TEST(temperature_zero_takes_the_first_of_the_most_likely) {
  std::vector<float> row = RandomRow(3000, 1);
  row[700] = row[1900] = 50;
  SamplingParams params;
  params.temperature = 0;
  for (const auto* kernels : AllKernels()) CHECK(Next(*kernels, row, Make(params)).token == 700);
}

TEST(draws_follow_the_distribution_that_the_parameters_define) {
  struct Setting {
    float temperature;
    int top_k;
    float top_p, min_p;
  };
  const std::vector<float> row = RandomRow(300, 5, 2);
  for (const Setting& s : {Setting{1, 0, 1, 0}, Setting{0.5f, 0, 1, 0}, Setting{2, 0, 0.7f, 0}, Setting{1, 5, 1, 0},
                           Setting{1.5f, 20, 0.8f, 0}, Setting{1, 0, 1, 0.05f}, Setting{1, 0, 0.9f, 0.02f},
                           Setting{1.2f, 30, 0.95f, 0.01f}, Setting{3, 0, 0.999f, 0}, Setting{1, 1000, 1, 0}}) {
    SamplingParams params;
    params.temperature = s.temperature, params.top_k = s.top_k, params.top_p = s.top_p, params.min_p = s.min_p;
    const auto wanted = Distribution(row, params);
    std::map<TokenId, int> seen;
    constexpr int kDraws = 20000;
    Sampler sampler(cpu::SelectKernels({}), {});
    for (int i = 0; i < kDraws; ++i) {
      params.seed = i;
      std::vector<float> copy = row;
      ++seen[sampler.Next(copy, Make(params), nullptr).token];
    }
    double chi_square = 0;
    int cells = 0;
    for (const auto& [token, count] : seen) CHECK(wanted.count(token), "drew ", token, " which was excluded");
    for (const auto& [token, share] : wanted) {
      const double expected = share * kDraws;
      if (expected < 5) continue;
      chi_square += (seen[token] - expected) * (seen[token] - expected) / expected;
      ++cells;
    }
    // Mean `cells`, standard deviation sqrt(2 cells).
    CHECK(chi_square < cells + 5 * std::sqrt(2.0 * cells) + 5, chi_square, " over ", cells);
  }
}

TEST(a_wide_nucleus_is_found_too) {
  const std::vector<float> row = RandomRow(20000, 9, 0.1f);  // nearly flat
  SamplingParams params;
  params.top_p = 0.6f;
  const auto wanted = Distribution(row, params);
  CHECK(wanted.size() > 5000);
  std::set<TokenId> seen;
  Sampler sampler(cpu::SelectKernels({}), {});
  int outside = 0;
  for (int i = 0; i < 2000; ++i) {
    params.seed = i;
    std::vector<float> copy = row;
    const TokenId token = sampler.Next(copy, Make(params), nullptr).token;
    outside += !wanted.count(token);
    seen.insert(token);
  }
  CHECK(seen.size() > 1500 && outside <= 1);  // float sums may move the edge by a token
}

TEST(draws_do_not_depend_on_what_was_drawn_before_or_where_the_row_lies) {
  SamplingParams params;
  params.seed = 77;
  params.logprobs = 5;
  for (const auto* kernels : AllKernels())
    for (float top_p : {1.0f, 0.9f}) {
      params.top_p = top_p;
      const Sequence sequence = Make(params);
      std::vector<float> row = RandomRow(1000, 3);
      Draw fresh = Next(*kernels, row, sequence);
      Sampler used(*kernels, {});
      std::vector<float> memory(1100);
      for (size_t shift = 0; shift < 20; ++shift) {
        std::vector<float> other = RandomRow(400 + shift, static_cast<uint32_t>(shift));
        used.Next(other, sequence, nullptr);
        std::copy(row.begin(), row.end(), memory.begin() + shift);
        const Draw again = used.Next({memory.data() + shift, row.size()}, sequence, nullptr);
        CHECK(again.token == fresh.token && std::memcmp(&again.logprob, &fresh.logprob, 4) == 0);
        CHECK(again.top == fresh.top);
      }
    }
}

TEST(log_probabilities_are_the_model_s_own) {
  const std::vector<float> row = RandomRow(500, 4);
  double total = 0;
  for (float x : row) total += std::exp(double{x});
  SamplingParams params;
  params.temperature = 0.7f;
  params.logprobs = 3;
  params.logit_bias = {{17, 30.0f}, {18, -3.0f}};
  params.repetition_penalty = 1.3f;
  params.min_tokens = 4;
  std::vector<uint32_t> mask(16, 0x5555aaaa);
  mask[0] |= 1 << 17;
  const Draw draw = Next(cpu::SelectKernels({}), row, Make(params), mask.data(), {9});
  CHECK(draw.token == 17);
  CHECK(std::abs(draw.logprob - (row[17] - std::log(total))) < 1e-5);
  CHECK(draw.top.size() == 3);
  std::vector<float> sorted = row;
  std::sort(sorted.rbegin(), sorted.rend());
  for (int i = 0; i < 3; ++i)
    CHECK(row[draw.top[i].first] == sorted[i] && std::abs(draw.top[i].second - (sorted[i] - std::log(total))) < 1e-5);
}

TEST(penalties_are_those_of_their_definitions) {
  SamplingParams params;
  params.temperature = 0;
  params.logprobs = 0;
  auto winner = [&](std::vector<float> row, std::vector<TokenId> output) {
    Sequence sequence = Make(params, {1, 2});
    for (TokenId token : output) sequence.Append(token);
    return Next(cpu::SelectKernels({}), std::move(row), sequence).token;
  };
  params.repetition_penalty = 2;  // prompt and output; divides what is positive, multiplies what is negative
  CHECK(winner({3.1f, 6, 0, 0}, {}) == 0 && winner({2.9f, 6, 0, 0}, {}) == 1);
  CHECK(winner({-3.9f, -2, -9, -9}, {}) == 0 && winner({-4.1f, -2, -9, -9}, {}) == 1);
  CHECK(winner({5, 0, 0, 3}, {0}) == 3);
  params.repetition_penalty = 1;
  params.presence_penalty = 1;  // output only, once
  CHECK(winner({0, 2, 0, 1.5f}, {}) == 1 && winner({0, 2, 0, 1.5f}, {1}) == 3 &&
        winner({0, 2, 0, 0.9f}, {1, 1, 1}) == 1);
  params.presence_penalty = 0;
  params.frequency_penalty = 1;  // output only, each time
  CHECK(winner({0, 4, 0, 1.5f}, {1, 1}) == 1 && winner({0, 4, 0, 1.5f}, {1, 1, 1}) == 3);
}

TEST(bias_masks_and_min_tokens_decide_what_is_allowed) {
  const std::vector<float> row{1, 5, 4, 3, 2};
  SamplingParams params;
  params.temperature = 0;
  const auto& kernels = cpu::SelectKernels({});
  auto winner = [&](uint32_t mask) { return Next(kernels, row, Make(params), mask ? &mask : nullptr, {1}).token; };
  CHECK(winner(0) == 1 && winner(0x1c) == 2 && winner(0x11) == 4);
  params.logit_bias = {{0, 100.0f}};
  CHECK(winner(0) == 0 && winner(0x18) == 3);
  params.logit_bias = {};
  params.min_tokens = 1;
  CHECK(winner(0) == 2);
  params.stop_token_ids = {2};
  CHECK(winner(0) == 3);
  CHECK(winner(0x02) == 1);  // the grammar allows the end alone
  CHECK(winner(0x06) == 1);
}

TEST(rows_that_are_no_distribution_are_errors) {
  SamplingParams params;
  const auto& kernels = cpu::SelectKernels({});
  std::vector<float> row = RandomRow(300, 1);
  row[200] = NAN;
  CHECK_ERROR(Code::kInvalidModel, Next(kernels, row, Make(params)));
  row[200] = INFINITY;
  CHECK_ERROR(Code::kInvalidModel, Next(kernels, row, Make(params)));
  CHECK_ERROR(Code::kInvalidArgument, Next(kernels, std::vector<float>(300, kNever), Make(params)));
  const std::vector<uint32_t> nothing(10, 0);
  row[200] = 0;
  CHECK_ERROR(Code::kInvalidArgument, Next(kernels, row, Make(params), nothing.data()));
}

TEST(masks_of_any_length_clear_what_they_do_not_allow) {
  std::mt19937 random(2);
  for (size_t n : {1, 31, 32, 33, 64, 100}) {
    std::vector<float> row(n, 1);
    std::vector<uint32_t> mask((n + 31) / 32);
    for (uint32_t& word : mask) word = random() % 3 ? random() : random() % 2 ? 0 : ~0u;
    ApplyMask(row, mask.data());
    for (size_t i = 0; i < n; ++i) CHECK((row[i] == 1) == static_cast<bool>(mask[i / 32] >> (i % 32) & 1));
  }
}
