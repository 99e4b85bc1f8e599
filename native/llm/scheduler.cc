#include "llm/scheduler.h"

#include <algorithm>

namespace ziggurat::llm {
namespace {

// Whether `a` is served before `b`, at the ranks given.
bool Before(const Sequence& a, int64_t rank_a, const Sequence& b, int64_t rank_b) {
  if (rank_a != rank_b) return rank_a > rank_b;
  return std::pair(a.request->id, a.index) < std::pair(b.request->id, b.index);
}

// Log probabilities of a prompt need a row for each of its tokens, so none may be skipped.
bool NeedsPromptRows(const Sequence& s) {
  return s.sampling().prompt_logprobs && static_cast<int64_t>(s.prompt_logprobs.size()) < s.prompt_length();
}

}  // namespace

void Scheduler::Add(Sequence& sequence) {
  ZIGGURAT_CHECK(sequence.blocks.empty() && sequence.computed == 0);
  sequence.phase = Phase::kWaiting;
  sequence.waits_since = step_;
  if (sequence.last_step < 0) sequence.rank = sequence.request->priority;
  waiting_[sequence.request->priority].emplace(std::pair(sequence.request->id, sequence.index), &sequence);
  ++waiting_count_;
}

bool Scheduler::Adopt(Sequence& sequence) {
  if (static_cast<int>(running_.size()) >= options_.max_sequences) return false;
  InsertRunning(sequence);
  return true;
}

void Scheduler::InsertRunning(Sequence& sequence) {
  sequence.phase = Phase::kRunning;
  const auto place =
      std::upper_bound(running_.begin(), running_.end(), &sequence,
                       [](const Sequence* a, const Sequence* b) { return Before(*a, a->rank, *b, b->rank); });
  running_.insert(place, &sequence);
}

void Scheduler::Remove(Sequence& sequence) {
  if (sequence.phase == Phase::kRunning) {
    running_.erase(std::find(running_.begin(), running_.end(), &sequence));
  } else if (sequence.phase == Phase::kWaiting) {
    const auto queue = waiting_.find(sequence.request->priority);
    queue->second.erase(std::pair(sequence.request->id, sequence.index));
    if (queue->second.empty()) waiting_.erase(queue);
    --waiting_count_;
  }
  pool_.ReleaseAll(sequence.blocks);
  sequence.computed = 0;
  sequence.published = 0;
  sequence.phase = Phase::kFinished;
}

void Scheduler::Shrink(int64_t tokens) {
  step_tokens_ = std::clamp<int64_t>(tokens, 1, options_.step_tokens);
  shrunk_ = kShrunkSteps;
}

Decision Scheduler::Plan() {
  ++step_;
  if (step_tokens_ < options_.step_tokens && shrunk_-- == 0) Shrink(2 * step_tokens_);
  budget_ = step_tokens_;
  Decision decision;
  PlanDecodes(decision);
  PlanPrompts(decision);
  PlanAdmissions(decision);
  return decision;
}

void Scheduler::PlanDecodes(Decision& decision) {
  std::vector<Sequence*> ready;
  for (Sequence* sequence : running_)
    if (sequence->Remaining() == 1) ready.push_back(sequence);
  // Where not all fit they take turns.
  if (static_cast<int64_t>(ready.size()) > budget_)
    std::stable_sort(ready.begin(), ready.end(), [](auto* a, auto* b) { return a->last_step < b->last_step; });
  int64_t spare = budget_ - static_cast<int64_t>(ready.size());  // for guesses
  for (Sequence* sequence : ready) {
    if (budget_ == 0) return;
    if (sequence->phase != Phase::kRunning) continue;  // lost its blocks to one before it
    if (!GrowTo(*sequence, sequence->length(), decision)) continue;
    int drafts = static_cast<int>(std::clamp<int64_t>(spare, 0, static_cast<int64_t>(sequence->drafts.size())));
    while (drafts > 0 && !TakeBlocks(*sequence, sequence->length() + drafts)) --drafts;
    spare -= drafts;
    Give(*sequence, 1, drafts, decision);
  }
}

void Scheduler::PlanPrompts(Decision& decision) {
  for (Sequence* sequence : running_)
    if (budget_ > 0 && sequence->Remaining() > 1 && sequence->last_step != step_)
      Give(*sequence, sequence->Remaining(), 0, decision);
}

void Scheduler::PlanAdmissions(Decision& decision) {
  while (budget_ > 0) {
    Sequence* best = BestWaiting();
    if (!best) return;
    while (!Admit(*best, decision)) {
      if (!MayTakeFrom(*best)) return;
      Preempt(*running_.back(), decision);
    }
  }
}

Sequence* Scheduler::BestWaiting() {
  Sequence* best = nullptr;
  int64_t best_rank = 0;
  for (auto& [priority, queue] : waiting_) {
    Sequence* first = queue.begin()->second;
    const int64_t rank = first->rank + (step_ - first->waits_since) / kAgingSteps;
    if (!best || Before(*first, rank, *best, best_rank)) best = first, best_rank = rank;
  }
  return best;
}

// Hands over at most what the budget and the sequence's own limit allow.
void Scheduler::Give(Sequence& sequence, int64_t count, int drafts, Decision& decision) {
  if (NeedsPromptRows(sequence)) count = std::min<int64_t>(count, options_.prompt_rows);
  count = std::min(count, budget_);
  sequence.last_step = step_;
  budget_ -= count + drafts;
  decision.run.push_back({&sequence, sequence.computed, count, drafts});
}

bool Scheduler::TakeBlocks(Sequence& sequence, int64_t tokens) {
  const size_t wanted = BlocksFor(tokens);
  while (sequence.blocks.size() < wanted) {
    const int block = pool_.Acquire();
    if (block == kNoBlock) return false;
    sequence.blocks.push_back(block);
  }
  return true;
}

// Blocks for `tokens` tokens, at the cost of those that come last; false if that was the sequence itself.
bool Scheduler::GrowTo(Sequence& sequence, int64_t tokens, Decision& decision) {
  while (!TakeBlocks(sequence, tokens)) {
    Sequence* last = running_.back();
    Preempt(*last, decision);
    if (last == &sequence) return false;
  }
  return true;
}

bool Scheduler::Admit(Sequence& sequence, Decision& decision) {
  if (static_cast<int>(running_.size()) >= options_.max_sequences) return false;
  // The last token is always computed: its row is what the next one is drawn from.
  const int64_t limit = NeedsPromptRows(sequence) ? 0 : (sequence.length() - 1) / pool_.block_tokens();
  pool_.Match(sequence.request->salt, sequence.tokens, static_cast<int>(limit), sequence.blocks);
  const int64_t found = static_cast<int64_t>(sequence.blocks.size());
  // Each sequence that comes before it may need a block soon, and would take it from the newcomer first.
  const int64_t rank = sequence.rank + (step_ - sequence.waits_since) / kAgingSteps;
  const int64_t reserve = std::count_if(running_.begin(), running_.end(), [&](const Sequence* other) {
    return Before(*other, other->rank, sequence, rank);
  });
  if (BlocksFor(sequence.length()) - found + reserve > pool_.available()) {
    pool_.ReleaseAll(sequence.blocks);
    return false;
  }
  ZIGGURAT_CHECK(TakeBlocks(sequence, sequence.length()));
  sequence.computed = found * pool_.block_tokens();
  sequence.published = static_cast<int>(found);
  if (sequence.cached_tokens < 0) {
    sequence.cached_tokens = static_cast<int>(sequence.computed);
    prefix_hit_tokens_ += sequence.computed;
    prefix_query_tokens_ += sequence.length();
  }
  const auto queue = waiting_.find(sequence.request->priority);
  queue->second.erase(std::pair(sequence.request->id, sequence.index));
  if (queue->second.empty()) waiting_.erase(queue);
  --waiting_count_;
  sequence.rank = rank;
  InsertRunning(sequence);
  Give(sequence, sequence.Remaining(), 0, decision);
  return true;
}

// Whether taking from running sequences below its priority could make room for it.
bool Scheduler::MayTakeFrom(const Sequence& sequence) const {
  int64_t gained = 0, below = 0;
  for (auto i = running_.rbegin(); i != running_.rend() && (*i)->rank < sequence.request->priority; ++i, ++below)
    for (int block : (*i)->blocks) gained += pool_.References(block) == 1;
  const int64_t reserve = static_cast<int64_t>(running_.size()) - below;
  return below > 0 && BlocksFor(sequence.length()) + reserve <= pool_.available() + gained;
}

void Scheduler::Preempt(Sequence& sequence, Decision& decision) {
  running_.erase(std::find(running_.begin(), running_.end(), &sequence));
  const auto chunk =
      std::find_if(decision.run.begin(), decision.run.end(), [&](const Chunk& c) { return c.sequence == &sequence; });
  if (chunk != decision.run.end()) {
    budget_ += chunk->Total();
    decision.run.erase(chunk);
  }
  pool_.ReleaseAll(sequence.blocks);
  sequence.computed = 0;
  sequence.published = 0;
  sequence.drafts.clear();
  ++preemptions_;
  decision.preempted.push_back(&sequence);
  Add(sequence);
}

}  // namespace ziggurat::llm
