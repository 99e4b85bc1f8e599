#include "llm/generator.h"

#include <atomic>
#include <bit>
#include <map>
#include <random>
#include <thread>

#include "fake_runner.h"

using namespace ziggurat;
using namespace ziggurat::llm;
using namespace ziggurat::llm::test;

namespace {

Heard Alone(const GeneratorOptions& options, const Request& request, int index = 0) {
  Rig rig(options);
  rig.generator.Add(request);
  rig.RunAll();
  return rig.heard[{1, index}];
}

// What the fake decoder says greedily, computed without any of the machinery.
std::vector<TokenId> Greedy(const std::vector<TokenId>& prompt, int count, int64_t vocab) {
  uint64_t state = 0;
  for (TokenId token : prompt) state = FakeState(state, token);
  std::vector<TokenId> out;
  std::vector<float> row(vocab);
  for (int i = 0; i < count; ++i) {
    FakeLogits(state, row);
    out.push_back(static_cast<TokenId>(std::max_element(row.begin(), row.end()) - row.begin()));
    state = FakeState(state, out.back());
  }
  return out;
}

std::vector<Request> Crowd(int count) {
  std::vector<Request> requests;
  for (int i = 0; i < count; ++i) {
    Request request = SomeRequest(1 + i * 7 % 50, 100 + i % 9, 5 + i % 23);
    request.sampling.temperature = i % 3 == 0 ? 0.0f : 0.9f;
    request.sampling.top_p = i % 4 == 1 ? 0.8f : 1.0f;
    request.sampling.frequency_penalty = i % 5 == 2 ? 0.5f : 0.0f;
    request.n = 1 + i % 4 / 3 * 2;
    request.sampling.ignore_eos = i % 2;
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace

TEST(a_generator_continues_as_the_model_says) {
  GeneratorOptions options = SmallOptions();
  options.eos = {};
  Request request = SomeRequest(13, 1, 40);
  request.sampling.temperature = 0;
  const Heard heard = Alone(options, request);
  CHECK(heard.tokens == Greedy(request.prompt, 40, options.vocab));
  CHECK(heard.finish == Finish::kLength && heard.cached == 0 && heard.logprobs.size() == 40);
}

TEST(the_same_request_gives_the_same_tokens_and_bits_in_any_company) {
  const std::vector<Request> crowd = Crowd(17);
  std::vector<Heard> alone;
  for (const Request& request : crowd)
    for (int i = 0; i < request.n; ++i) alone.push_back(Alone(SmallOptions(), request, i));
  int64_t hits = 0;
  struct Setting {
    int step_tokens, blocks, max_sequences, threads;
    bool prefix_cache, ngram;
  };
  for (const Setting& s :
       {Setting{1, 64, 20, 1, true, false}, Setting{7, 64, 20, 2, false, true}, Setting{64, 64, 20, 1, true, true},
        Setting{32, 14, 20, 2, true, false}, Setting{16, 12, 3, 1, false, true}, Setting{7, 13, 5, 2, true, true}}) {
    GeneratorOptions options = SmallOptions();
    options.scheduler = {s.step_tokens, s.max_sequences, 5};
    options.blocks = s.blocks;
    options.prefix_cache = s.prefix_cache;
    options.ngram = s.ngram;
    Rig rig(options, s.threads);
    for (const Request& request : crowd) rig.generator.Add(request);
    rig.RunAll();
    CHECK(rig.runner->largest_step <= s.step_tokens);
    size_t next = 0;
    for (size_t r = 0; r < crowd.size(); ++r)
      for (int i = 0; i < crowd[r].n; ++i, ++next)
        CHECK((rig.heard[{static_cast<int64_t>(r) + 1, i}] == alone[next]), "request ", r, " of ", s.step_tokens, " ",
              s.blocks);
    const Counters counters = rig.generator.counters();
    CHECK(counters.running == 0 && counters.waiting == 0 && counters.kv_blocks_used == 0);
    CHECK((s.blocks > 20) == (counters.preemptions == 0), counters.preemptions);
    CHECK(s.prefix_cache || counters.prefix_hit_tokens == 0);
    hits += counters.prefix_hit_tokens;
  }
  CHECK(hits > 0);
}

TEST(a_prefix_that_was_computed_is_not_computed_again) {
  GeneratorOptions options = SmallOptions();
  Rig rig(options);
  Request first = SomeRequest(80, 5, 1), second = first, other = first;
  second.prompt.insert(second.prompt.end(), {9, 9, 9});
  other.salt = "another tenant";
  rig.generator.Add(first);
  rig.RunAll();
  CHECK(rig.runner->tokens_run == 80);
  rig.generator.Add(second);
  rig.RunAll();
  CHECK(rig.runner->tokens_run == 83 && (rig.heard[{2, 0}].cached == 80));
  rig.generator.Add(first);  // all of it is there, but the last block's logits are needed
  rig.RunAll();
  CHECK(rig.runner->tokens_run == 91 && (rig.heard[{3, 0}].cached == 72));
  rig.generator.Add(other);
  rig.RunAll();
  CHECK(rig.runner->tokens_run == 171 && (rig.heard[{4, 0}].cached == 0));
  CHECK((rig.heard[{1, 0}] == rig.heard[{4, 0}]));
  const Counters counters = rig.generator.counters();
  CHECK(counters.prefix_hit_tokens == 152 && counters.prefix_query_tokens == 80 + 83 + 80 + 80);
}

TEST(several_answers_share_the_prompt_and_copy_its_last_block_only) {
  GeneratorOptions options = SmallOptions();
  Rig rig(options);
  Request request = SomeRequest(43, 6, 30);
  request.n = 4;
  request.sampling.ignore_eos = true;
  rig.generator.Add(request);
  while (rig.heard.size() < 4) CHECK(rig.Step());
  CHECK(rig.runner->tokens_run == 43 && rig.runner->copies == 3);
  CHECK(rig.generator.counters().kv_blocks_used == 5 + 4);  // 43 tokens are 5 blocks of 8, and a part for each
  rig.RunAll();
  for (int i = 0; i < 4; ++i) {
    CHECK((rig.heard[{1, i}] == Alone(options, request, i)));
    for (int j = 0; j < i; ++j) CHECK((rig.heard[{1, i}].tokens != rig.heard[{1, j}].tokens));
  }
  Request whole = SomeRequest(40, 6, 3);  // full blocks only: nothing to copy
  whole.n = 2;
  rig.generator.Add(whole);
  rig.RunAll();
  CHECK(rig.runner->copies == 3);
}

TEST(when_the_first_of_several_answers_is_cancelled_the_next_computes_the_prompt) {
  for (int steps = 0; steps < 4; ++steps) {
    GeneratorOptions options = SmallOptions();
    options.scheduler.step_tokens = 16;
    Rig rig(options);
    Request request = SomeRequest(43, 6, 10);
    request.n = 3;
    rig.generator.Add(request);
    for (int i = 0; i < steps; ++i) rig.Step();
    rig.generator.Cancel(1, 0);
    rig.RunAll();
    CHECK((rig.heard[{1, 0}].finish == Finish::kCancelled));
    CHECK((rig.heard[{1, 1}] == Alone(options, request, 1)) && (rig.heard[{1, 2}] == Alone(options, request, 2)));
  }
}

TEST(a_cancel_while_the_model_runs_gives_blocks_back_at_once) {
  for (std::optional<int> index : {std::optional<int>(), std::optional<int>(0)}) {
    GeneratorOptions options = SmallOptions();
    Rig rig(options);
    Request request = SomeRequest(20, 6, 10);
    request.n = 2;
    rig.generator.Add(request);
    rig.runner->before_run = [&](const StepInputs&) { rig.generator.Cancel(1, index); };
    rig.Step();
    rig.runner->before_run = nullptr;
    CHECK((rig.heard[{1, 0}].finish == Finish::kCancelled && rig.heard[{1, 0}].tokens.empty()));
    CHECK(rig.generator.counters().kv_blocks_used == 0);
    rig.RunAll();
    if (index) CHECK((rig.heard[{1, 1}] == Alone(options, request, 1)));
  }
}

TEST(thousand_requests_cancelled_at_random_points_leave_no_block_behind) {
  GeneratorOptions options = SmallOptions();
  options.blocks = 30;
  Rig rig(options);
  std::mt19937 random(5);
  std::vector<std::pair<int64_t, int>> alive;
  int added = 0;
  while (added < 1000 || rig.generator.counters().running + rig.generator.counters().waiting > 0) {
    for (int i = random() % 4; i > 0 && added < 1000; --i, ++added) {
      Request request = SomeRequest(1 + random() % 60, random() % 20, 1 + random() % 40);
      request.n = 1 + random() % 3;
      request.priority = static_cast<int>(random() % 3);
      request.salt = random() % 2 ? "a" : "";
      if (random() % 5 == 0) request.sampling.prompt_logprobs = 1;
      alive.emplace_back(rig.generator.Add(request), request.n);
    }
    for (int i = random() % 4; i > 0 && !alive.empty(); --i) {
      const size_t victim = random() % alive.size();
      const auto [id, n] = alive[victim];
      if (random() % 3) {
        rig.generator.Cancel(id);
        alive.erase(alive.begin() + victim);
      } else {
        rig.generator.Cancel(id, static_cast<int>(random() % n));
      }
    }
    if (random() % 7 == 0)
      rig.runner->before_run = [&, id = alive.empty() ? 0 : alive.back().first](const StepInputs&) {
        rig.generator.Cancel(id);
      };
    rig.Step();
    rig.runner->before_run = nullptr;
  }
  rig.RunAll();
  CHECK(rig.generator.counters().kv_blocks_used == 0);
  for (const auto& [key, heard] : rig.heard) CHECK(heard.finish != Finish::kNone);
  int finished = 0;
  for (const auto& [key, heard] : rig.heard) finished += heard.finish != Finish::kCancelled;
  CHECK(finished > 100, finished);
}

TEST(requests_added_and_cancelled_from_other_threads_end_once) {
  GeneratorOptions options = SmallOptions();
  Rig rig(options, 2);
  std::atomic<int> busy{3};
  std::vector<std::thread> clients;
  for (int c = 0; c < 3; ++c)
    clients.emplace_back([&, c] {
      std::mt19937 random(c);
      for (int i = 0; i < 60; ++i) {
        const int64_t id = rig.generator.Add(SomeRequest(1 + random() % 30, i, 1 + random() % 20));
        if (random() % 2) rig.generator.Cancel(id);
        rig.generator.counters();
      }
      --busy;
    });
  while (busy > 0 || rig.generator.counters().waiting + rig.generator.counters().running > 0)
    if (!rig.Step()) std::this_thread::yield();
  for (auto& client : clients) client.join();
  rig.RunAll();
  CHECK(rig.heard.size() == 180 && rig.generator.counters().kv_blocks_used == 0);
  for (const auto& [key, heard] : rig.heard) CHECK(heard.finish != Finish::kNone);
}

TEST(an_error_of_the_model_ends_the_step_s_sequences_and_no_others) {
  GeneratorOptions options = SmallOptions();
  options.scheduler.max_sequences = 3;
  Rig rig(options);
  Request forked = SomeRequest(10, 1, 5);
  forked.n = 2;
  rig.generator.Add(forked);
  rig.generator.Add(SomeRequest(5, 2, 5));
  rig.generator.Add(SomeRequest(5, 3, 5));
  rig.generator.Add(SomeRequest(5, 4, 5));
  rig.runner->before_run = [](const StepInputs&) { throw Error(Code::kInternal, "an index out of range"); };
  rig.Step();
  rig.runner->before_run = nullptr;
  for (auto key : {std::pair<int64_t, int>(1, 0), {1, 1}, {2, 0}, {3, 0}})
    CHECK(rig.heard[key].finish == Finish::kError && rig.heard[key].error == "an index out of range");
  CHECK(rig.generator.counters().kv_blocks_used == 0 && !rig.heard.count({4, 0}));
  rig.RunAll();
  CHECK((rig.heard[{4, 0}] == Alone(options, SomeRequest(5, 4, 5))));
  rig.generator.Add(forked);
  rig.RunAll();
  CHECK((rig.heard[{5, 1}] == Alone(options, forked, 1)));
}

TEST(a_step_that_finds_no_memory_is_tried_again_smaller) {
  const GeneratorOptions options = SmallOptions();
  for (size_t fits : {1, 3, 7}) {
    Rig rig(options);
    Request forked = SomeRequest(30, 1, 60);
    forked.n = 3;
    rig.generator.Add(forked);
    for (int i = 2; i < 9; ++i) rig.generator.Add(SomeRequest(5 * i, i, 40));
    size_t largest = 0;
    rig.runner->before_run = [&](const StepInputs& in) {
      if (in.tokens.size() > fits) throw Error(Code::kOutOfMemory, "3 GiB wanted, 1 GiB left");
      largest = std::max(largest, in.tokens.size());
    };
    rig.RunAll();
    for (int index = 0; index < 3; ++index) CHECK((rig.heard[{1, index}] == Alone(options, forked, index)));
    for (int i = 2; i < 9; ++i) CHECK((rig.heard[{i, 0}] == Alone(options, SomeRequest(5 * i, i, 40))));
    CHECK(rig.generator.counters().memory_retries > 0 && largest <= fits && 2 * largest >= fits);
  }
}

TEST(where_one_token_finds_no_memory_the_last_to_come_ends) {
  const GeneratorOptions options = SmallOptions();
  Rig rig(options);
  Request forked = SomeRequest(10, 3, 20);
  forked.n = 2;
  rig.generator.Add(SomeRequest(5, 1, 20));
  rig.generator.Add(SomeRequest(5, 2, 20));
  rig.generator.Add(forked);
  rig.runner->before_run = [&](const StepInputs&) {
    if (!rig.heard.count({3, 0})) throw Error(Code::kOutOfMemory, "3 GiB wanted, 1 GiB left");
  };
  rig.RunAll();
  for (int index : {0, 1})
    CHECK(
        (rig.heard[{3, index}].finish == Finish::kError && rig.heard[{3, index}].error == "3 GiB wanted, 1 GiB left"));
  for (int i : {1, 2}) CHECK((rig.heard[{i, 0}] == Alone(options, SomeRequest(5, i, 20))));
  CHECK(rig.generator.counters().kv_blocks_used == 0);
}

TEST(requests_that_cannot_be_are_refused_with_numbers) {
  GeneratorOptions options = SmallOptions();
  options.blocks = 10;
  Rig rig(options);
  Generator& g = rig.generator;
  auto with = [](auto change) {
    Request request = SomeRequest(5, 1, 5);
    change(request);
    return request;
  };
  try {
    g.Add(SomeRequest(400, 1, 5));
    CHECK(false);
  } catch (const PromptTooLong& error) {
    CHECK(error.prompt_tokens == 400 && error.context_tokens == 400 && error.code() == Code::kInvalidArgument);
  }
  try {
    g.Add(SomeRequest(70, 1, 20));
    CHECK(false);
  } catch (const Error& error) {
    CHECK(error.code() == Code::kOutOfMemory);
    CHECK(std::string(error.what()).find("12 KV blocks, the pool has 10") != std::string::npos, error.what());
  }
  CHECK_ERROR(Code::kInvalidArgument, g.Add(with([](Request& r) { r.prompt = {}; })));
  CHECK_ERROR(Code::kInvalidArgument, g.Add(with([](Request& r) { r.prompt[2] = 61; })));
  CHECK_ERROR(Code::kInvalidArgument, g.Add(with([](Request& r) { r.prompt[2] = -1; })));
  CHECK_ERROR(Code::kInvalidArgument, g.Add(with([](Request& r) { r.n = 0; })));
  CHECK_ERROR(Code::kInvalidArgument, g.Add(with([](Request& r) { r.sampling.temperature = -1; })));
  CHECK_ERROR(Code::kInvalidArgument, g.Add(with([](Request& r) { r.sampling.temperature = NAN; })));
  CHECK_ERROR(Code::kInvalidArgument, g.Add(with([](Request& r) { r.sampling.top_p = 0; })));
  CHECK_ERROR(Code::kInvalidArgument, g.Add(with([](Request& r) { r.sampling.top_k = -2; })));
  CHECK_ERROR(Code::kInvalidArgument, g.Add(with([](Request& r) { r.sampling.min_p = 1.5; })));
  CHECK_ERROR(Code::kInvalidArgument, g.Add(with([](Request& r) { r.sampling.repetition_penalty = 0; })));
  CHECK_ERROR(Code::kInvalidArgument, g.Add(with([](Request& r) { r.sampling.presence_penalty = INFINITY; })));
  CHECK_ERROR(Code::kInvalidArgument, g.Add(with([](Request& r) { r.sampling.logit_bias = {{61, 1.0f}}; })));
  CHECK_ERROR(Code::kInvalidArgument, g.Add(with([](Request& r) { r.sampling.stop_token_ids = {-1}; })));
  CHECK_ERROR(Code::kInvalidArgument, g.Add(with([](Request& r) { r.sampling.logprobs = 62; })));
  CHECK_ERROR(Code::kInvalidArgument, g.Add(with([](Request& r) { r.sampling.min_tokens = 6; })));
  CHECK(!g.Schedule());
}

TEST(a_sequence_ends_at_its_limits) {
  GeneratorOptions options = SmallOptions();
  options.context = 30;
  Request request = SomeRequest(28, 1, 100);
  request.sampling.ignore_eos = true;
  CHECK(Alone(options, request).tokens.size() == 2);  // the context
  request.sampling.max_tokens = SamplingParams{}.max_tokens;
  options.context = 4000;
  options.blocks = 5;
  CHECK(Alone(options, request).tokens.size() == 12);  // the pool, where no length was asked for
  request.sampling.max_tokens = 0;
  const Heard none = Alone(options, request);
  CHECK(none.tokens.empty() && none.finish == Finish::kLength);
}

TEST(stop_tokens_end_a_sequence_and_min_tokens_holds_them_off) {
  GeneratorOptions options = SmallOptions();
  options.eos = {};
  Request request = SomeRequest(9, 2, 30);
  request.sampling.temperature = 0;
  const std::vector<TokenId> free = Alone(options, request).tokens;
  CHECK(free.size() == 30);
  options.eos = {free[4]};
  const size_t first = std::find(free.begin(), free.end(), free[4]) - free.begin();
  Heard stopped = Alone(options, request);
  CHECK(stopped.finish == Finish::kStop && stopped.tokens.size() == first + 1 && stopped.tokens.back() == free[4]);
  request.sampling.ignore_eos = true;
  CHECK(Alone(options, request).tokens == free);
  request.sampling.stop_token_ids = {free[4]};
  CHECK(Alone(options, request).tokens.size() == first + 1);
  request.sampling.min_tokens = 20;
  const Heard longer = Alone(options, request);
  CHECK(longer.tokens.size() >= 20);
  for (size_t i = 0; i < 20 && i < longer.tokens.size(); ++i) CHECK(longer.tokens[i] != free[4]);
}

TEST(draws_under_a_mask_stay_inside_it) {
  GeneratorOptions options = SmallOptions();
  Rig rig(options, 2);
  Request request = SomeRequest(9, 2, 30);
  request.sampling.constrained = true;
  request.sampling.ignore_eos = true;
  request.n = 2;
  rig.generator.Add(request);
  rig.generator.Add(SomeRequest(9, 3, 30));
  rig.mask_of = [](const Generator::MaskRow& row) {
    return std::vector<uint32_t>{row.index ? 0x00000f00u : 0x30000000u, 0x00000001u};
  };
  rig.RunAll();
  CHECK((rig.heard[{1, 0}].tokens.size() == 30 && rig.heard[{1, 1}].tokens.size() == 30));
  for (TokenId token : rig.heard[{1, 0}].tokens) CHECK(token == 28 || token == 29 || token == 32);
  for (TokenId token : rig.heard[{1, 1}].tokens) CHECK((token >= 8 && token < 12) || token == 32);
  CHECK((rig.heard[{2, 0}] == Alone(options, SomeRequest(9, 3, 30))));
}

TEST(a_draw_under_a_mask_fails_closed) {
  Rig rig(SmallOptions());
  Request request = SomeRequest(9, 2, 30);
  request.sampling.constrained = true;
  rig.generator.Add(request);
  const auto rows = rig.generator.Schedule();
  CHECK(rows && rows->size() == 1 && rows->front().request == 1);
  rig.generator.Forward();
  CHECK_ERROR(Code::kInvalidArgument, rig.generator.Sample());  // no mask, no token
  const uint32_t nothing[2] = {0, 0};
  Hear(rig.generator.Sample(nothing, 1), rig.heard);
  CHECK((rig.heard[{1, 0}].finish == Finish::kError && rig.heard[{1, 0}].tokens.empty()));
  CHECK((rig.heard[{1, 0}].error.find("no token is allowed") != std::string::npos));
  CHECK(rig.generator.counters().kv_blocks_used == 0);
}

TEST(a_step_that_is_not_finished_is_forgotten) {
  GeneratorOptions options = SmallOptions();
  options.ngram = true;
  Rig rig(options);
  Request request = SomeRequest(40, 2, 30);
  request.n = 2;
  rig.generator.Add(request);
  for (int i = 0; rig.generator.Schedule(); ++i) {
    if (i % 3 == 1) continue;
    rig.generator.Forward();
    if (i % 3 == 2) continue;
    Hear(rig.generator.Sample(), rig.heard);
    rig.generator.CheckInvariants();
  }
  for (int index : {0, 1}) CHECK((rig.heard[{1, index}] == Alone(options, request, index)));
}

TEST(prompts_are_scored_however_they_are_cut) {
  const Request request = [] {
    Request r = SomeRequest(45, 2, 3);
    r.sampling.prompt_logprobs = 2;
    return r;
  }();
  std::vector<PromptLogprob> first;
  for (int step_tokens : {100, 1, 7}) {
    GeneratorOptions options = SmallOptions();
    options.scheduler.step_tokens = step_tokens;
    Rig rig(options);
    rig.generator.Add(request);
    rig.RunAll();
    const auto& prompt = rig.heard[{1, 0}].prompt;
    CHECK(prompt.size() == 45 && !prompt[0].logprob && prompt[0].token == request.prompt[0]);
    uint64_t state = 0;
    std::vector<float> row(options.vocab);
    for (size_t i = 0; i + 1 < prompt.size(); ++i) {
      state = FakeState(state, request.prompt[i]);
      FakeLogits(state, row);
      double sum = 0;
      for (float x : row) sum += std::exp(x);
      CHECK(prompt[i + 1].token == request.prompt[i + 1] && prompt[i + 1].top.size() == 2);
      CHECK(std::abs(*prompt[i + 1].logprob - (row[request.prompt[i + 1]] - std::log(sum))) < 1e-5);
      if (!first.empty()) CHECK(*prompt[i + 1].logprob == *first[i + 1].logprob);
    }
    first = prompt;
  }
}

TEST(logits_of_a_text_leave_no_trace) {
  GeneratorOptions options = SmallOptions();
  Rig rig(options);
  rig.generator.Add(SomeRequest(20, 1, 20));
  rig.Step();
  const auto tokens = SomeTokens(50, 9);
  const Counters before = rig.generator.counters();
  const std::vector<float> logits = rig.generator.Logits(tokens);
  CHECK(logits.size() == size_t(50 * options.vocab) &&
        rig.generator.counters().kv_blocks_used == before.kv_blocks_used);
  uint64_t state = 0;
  std::vector<float> row(options.vocab);
  for (size_t i = 0; i < tokens.size(); ++i) {
    FakeLogits(state = FakeState(state, tokens[i]), row);
    CHECK(std::equal(row.begin(), row.end(), logits.begin() + i * options.vocab));
  }
  rig.RunAll();
  CHECK((rig.heard[{1, 0}] == Alone(options, SomeRequest(20, 1, 20))));
  CHECK_ERROR(Code::kInvalidArgument, rig.generator.Logits(SomeTokens(500, 1)));
  CHECK_ERROR(Code::kInvalidArgument, rig.generator.Logits(std::vector<TokenId>{61}));
}

TEST(guesses_change_nothing_and_are_taken_where_they_are_right) {
  GeneratorOptions options = SmallOptions();
  options.vocab = 2;  // with two tokens every text repeats itself
  options.eos = {};
  Request request = SomeRequest(12, 1, 200);
  for (TokenId& token : request.prompt) token &= 1;
  request.sampling.logprobs = 1;
  request.sampling.temperature = 0.3f;
  const Heard plain = Alone(options, request);
  options.ngram = true;
  Rig rig(options);
  rig.generator.Add(request);
  rig.RunAll();
  CHECK((rig.heard[{1, 0}] == plain));
  const Counters counters = rig.generator.counters();
  CHECK(counters.accepted_tokens > 20 && counters.draft_tokens > counters.accepted_tokens);
  CHECK(counters.steps + counters.accepted_tokens == 200);
}
