#include "llm/scheduler.h"

#include <memory>

#include "check.h"

using namespace ziggurat;
using namespace ziggurat::llm;

namespace {

constexpr HashKey kKey{1, 2};

// A scheduler over a pool of 4-token blocks, and the sequences it decides on.
struct Desk {
  Desk(int blocks, SchedulerOptions options) : pool(blocks, 4, true, kKey), scheduler(options, pool) {}

  Sequence& Add(int prompt, int priority = 0) {
    auto request = std::make_shared<Request>();
    request->id = static_cast<int64_t>(sequences.size()) + 1;
    request->prompt.assign(prompt, static_cast<TokenId>(request->id));  // no prefix in common
    request->priority = priority;
    request->max_length = 1000;
    sequences.push_back(std::make_unique<Sequence>(request, 0));
    scheduler.Add(*sequences.back());
    return *sequences.back();
  }
  // What runs, as "id:count" in order, after which all of it is computed and one token drawn where a chunk ends.
  std::string Step() {
    const Decision decision = scheduler.Plan();
    std::string text;
    preempted.clear();
    for (const Sequence* s : decision.preempted) preempted += Cat(s->request->id, " ");
    for (const Chunk& chunk : decision.run) {
      text += Cat(text.empty() ? "" : " ", chunk.sequence->request->id, ":", chunk.count);
      Sequence& s = *chunk.sequence;
      CHECK(chunk.start == s.computed);
      s.computed += chunk.count;
      CHECK(static_cast<int64_t>(s.blocks.size()) * 4 >= s.computed);
      if (chunk.Samples()) s.Append(0);
    }
    return text;
  }

  BlockPool pool;
  Scheduler scheduler;
  std::vector<std::unique_ptr<Sequence>> sequences;
  std::string preempted;
};

void Expect(const std::string& got, const std::string& want) {
  CHECK(got == want, "got '", got, "', want '", want, "'");
}

}  // namespace

TEST(decodes_go_first_and_prompts_share_the_rest_of_the_budget) {
  Desk desk(100, {.step_tokens = 10, .max_sequences = 8});
  desk.Add(4);
  Expect(desk.Step(), "1:4");
  desk.Add(13);
  desk.Add(5);
  Expect(desk.Step(), "1:1 2:9");
  Expect(desk.Step(), "1:1 2:4 3:5");
  Expect(desk.Step(), "1:1 2:1 3:1");
}

TEST(a_prompt_is_cut_to_the_budget_and_goes_on_before_new_ones) {
  Desk desk(100, {.step_tokens = 6, .max_sequences = 8});
  desk.Add(14);
  desk.Add(3);
  Expect(desk.Step(), "1:6");
  Expect(desk.Step(), "1:6");
  Expect(desk.Step(), "1:2 2:3");
}

TEST(sequences_wait_for_a_place) {
  Desk desk(100, {.step_tokens = 50, .max_sequences = 2});
  desk.Add(3), desk.Add(3), desk.Add(3);
  Expect(desk.Step(), "1:3 2:3");
  Expect(desk.Step(), "1:1 2:1");
  desk.scheduler.Remove(*desk.sequences[0]);
  Expect(desk.Step(), "2:1 3:3");
  CHECK(desk.scheduler.waiting() == 0 && desk.scheduler.running().size() == 2);
}

TEST(admission_is_by_blocks_and_in_order) {
  Desk desk(8, {.step_tokens = 100, .max_sequences = 8});
  desk.Add(17);  // 5 blocks
  desk.Add(16);  // 4 blocks: does not fit beside it
  desk.Add(1);   // would fit, but it is not its turn
  Expect(desk.Step(), "1:17");
  CHECK(desk.scheduler.waiting() == 2);
  desk.scheduler.Remove(*desk.sequences[0]);
  Expect(desk.Step(), "2:16 3:1");
}

TEST(the_latest_loses_its_blocks_and_is_computed_again) {
  Desk desk(6, {.step_tokens = 100, .max_sequences = 8});
  desk.Add(8);  // 2 blocks
  desk.Add(8);
  Expect(desk.Step(), "1:8 2:8");
  for (int i = 0; i < 4; ++i) Expect(desk.Step(), "1:1 2:1");  // a third block each
  Expect(desk.Step(), "1:1");
  Expect(desk.preempted, "2 ");
  CHECK(desk.sequences[1]->phase == Phase::kWaiting && desk.sequences[1]->blocks.empty());
  Expect(desk.Step(), "1:1");  // 13 tokens and a reserve of one block do not fit yet
  CHECK(desk.scheduler.preemptions() == 1);
  desk.scheduler.Remove(*desk.sequences[0]);
  Expect(desk.Step(), "2:13");
}

TEST(the_lowest_priority_loses_first_and_the_highest_goes_first) {
  Desk desk(6, {.step_tokens = 100, .max_sequences = 8});
  desk.Add(8, 0);
  desk.Add(8, 1);
  Expect(desk.Step(), "2:8 1:8");
  for (int i = 0; i < 4; ++i) Expect(desk.Step(), "2:1 1:1");
  Expect(desk.Step(), "2:1");
  Expect(desk.preempted, "1 ");
}

TEST(a_higher_priority_takes_blocks_and_places_from_lower_ones) {
  Desk blocks(6, {.step_tokens = 100, .max_sequences = 8});
  blocks.Add(8), blocks.Add(8);
  Expect(blocks.Step(), "1:8 2:8");
  blocks.Add(10, 2);
  Expect(blocks.Step(), "1:1 3:10");
  Expect(blocks.preempted, "2 ");
  Desk places(100, {.step_tokens = 100, .max_sequences = 2});
  places.Add(8), places.Add(8);
  Expect(places.Step(), "1:8 2:8");
  places.Add(4, 1);
  Expect(places.Step(), "1:1 3:4");
  Expect(places.preempted, "2 ");
}

TEST(nothing_is_preempted_for_what_would_not_fit_even_then) {
  Desk desk(6, {.step_tokens = 100, .max_sequences = 8});
  desk.Add(8, 3), desk.Add(4);
  Expect(desk.Step(), "1:8 2:4");
  desk.Add(20, 2);  // 5 blocks; 3 could be had
  Expect(desk.Step(), "1:1 2:1");
  Expect(desk.preempted, "");
}

TEST(waiting_long_is_worth_a_priority) {
  Desk desk(100, {.step_tokens = 4, .max_sequences = 1});
  Sequence& low = desk.Add(4, 0);
  bool ran = false;
  for (int i = 0; i < 4 * Scheduler::kAgingSteps && !ran; ++i) {
    Sequence& high = desk.Add(4, 2);
    desk.Step();
    ran = low.computed > 0;
    if (!ran) desk.scheduler.Remove(high);
  }
  CHECK(ran);
}

TEST(where_not_all_decodes_fit_they_take_turns) {
  Desk desk(100, {.step_tokens = 2, .max_sequences = 8});
  desk.Add(1), desk.Add(1), desk.Add(2);
  Expect(desk.Step(), "1:1 2:1");
  Expect(desk.Step(), "1:1 2:1");
  desk.scheduler.Remove(*desk.sequences[1]);
  Expect(desk.Step(), "1:1 3:1");
  Expect(desk.Step(), "1:1 3:1");
  desk.scheduler.Remove(*desk.sequences[0]);
  desk.Add(1);
  Expect(desk.Step(), "3:1 4:1");
}

TEST(guesses_take_spare_budget_and_spare_blocks_only) {
  Desk desk(4, {.step_tokens = 6, .max_sequences = 8});
  Sequence& a = desk.Add(3);
  desk.Add(3);
  Expect(desk.Step(), "1:3 2:3");
  a.drafts = {1, 2, 3, 4, 5, 6};
  const Decision decision = desk.scheduler.Plan();
  CHECK(decision.run.size() == 2);
  CHECK(decision.run[0].drafts == 4 && decision.run[1].drafts == 0 && decision.run[1].count == 1);
  CHECK(a.blocks.size() == 2);
}
