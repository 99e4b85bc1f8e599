// The half of a step after the model run: draw, take in what was computed, share it, report.
#include <algorithm>

#include "llm/generator.h"

namespace ziggurat::llm {

// Guesses for sequences that are about to decode, as far as a step has rows to spare.
void Generator::Propose() {
  int64_t decoding = 0;
  for (const Sequence* s : scheduler_.running()) decoding += s->Remaining() == 1;
  if (decoding == 0) return;
  const int64_t each = (options_.guess_rows - decoding) / decoding;
  for (Sequence* s : scheduler_.running()) {
    if (s->Remaining() != 1 || s->sampling().constrained) continue;
    // The last token of all is drawn from the row before it.
    const int64_t room = s->request->max_length - s->length() - 1;
    s->drafter.Propose(s->tokens, static_cast<int>(std::min(each, room)), s->drafts);
  }
}

// Which sequences draw from which rows.
void Generator::PlanDraws() {
  draws_.clear();
  int64_t masks = 0;
  for (size_t i = 0; i < decision_.run.size(); ++i) {
    const Chunk& chunk = decision_.run[i];
    if (!chunk.Samples()) continue;
    Sequence& leader = *chunk.sequence;
    const int64_t row = inputs_.first_row[i] + RowsOf(chunk).scored;
    const size_t first = draws_.size();
    // While it has generated nothing, others may wait for this prompt: they draw from its last row too.
    for (auto& other : requests_.at(leader.request->id).sequences)
      if (other && (other.get() == &leader || (leader.generated() == 0 && other->phase == Phase::kFollowing))) {
        Draws draws;
        draws.sequence = other.get();
        draws.chunk = i;
        draws.first_row = row;
        if (leader.sampling().constrained && leader.sampling().max_tokens > 0) draws.mask = masks++;
        draws_.push_back(std::move(draws));
      }
    for (size_t d = first; d < draws_.size(); ++d) draws_[d].shared_row = draws_.size() - first > 1;
  }
}

void Generator::RunDraws(const uint32_t* masks) {
  ScorePrompts();
  if (draws_.size() == 1) return DrawRows(draws_.front(), masks, 0);
  team_.ParallelFor(static_cast<int64_t>(draws_.size()),
                    [&](int64_t i, int worker) { DrawRows(draws_[i], masks, worker); });
}

void Generator::DrawRows(Draws& draws, const uint32_t* masks, int worker) {
  if (!draws.sequence) return;  // cancelled meanwhile
  Sequence& sequence = *draws.sequence;
  if (sequence.sampling().max_tokens == 0) {
    draws.finish = Finish::kLength;
    return;
  }
  const Chunk& chunk = decision_.run[draws.chunk];
  const uint32_t* mask = draws.mask < 0 ? nullptr : masks + draws.mask * ((options_.vocab + 31) / 32);
  try {
    for (int i = 0; i <= chunk.drafts; ++i) {
      std::span<float> row = logits_.subspan((draws.first_row + i) * options_.vocab, options_.vocab);
      if (draws.shared_row) {
        copies_[worker].assign(row.begin(), row.end());
        row = copies_[worker];
      }
      draws.drawn.push_back(samplers_[worker].Next(row, sequence, mask));
      const TokenId token = draws.drawn.back().token;
      sequence.Append(token);
      draws.finish = FinishOf(sequence);
      // A guess counts only if it is what was drawn: then the next row was computed from the right token.
      if (draws.finish != Finish::kNone || i == chunk.drafts || token != sequence.drafts[i]) break;
    }
  } catch (const Error& error) {
    draws.finish = Finish::kError;
    draws.error = error;
  }
}

Finish Generator::FinishOf(const Sequence& sequence) const {
  const SamplingParams& params = sequence.sampling();
  const TokenId token = sequence.tokens.back();
  auto has = [token](const std::vector<TokenId>& ids) { return std::find(ids.begin(), ids.end(), token) != ids.end(); };
  if ((!params.ignore_eos && has(options_.eos)) || has(params.stop_token_ids)) return Finish::kStop;
  return sequence.length() >= sequence.request->max_length ? Finish::kLength : Finish::kNone;
}

void Generator::ScorePrompts() {
  struct Job {
    Sequence* sequence;
    int64_t position, row;
  };
  std::vector<Job> jobs;
  for (size_t i = 0; i < decision_.run.size(); ++i) {
    const Chunk& chunk = decision_.run[i];
    if (!chunk.sequence || !chunk.sequence->sampling().prompt_logprobs) continue;
    const ChunkRows rows = RowsOf(chunk);
    std::vector<PromptLogprob>& scores = chunk.sequence->prompt_logprobs;
    if (scores.empty()) scores.push_back({chunk.sequence->tokens.front(), std::nullopt, {}});
    for (int64_t r = 0; r < rows.scored; ++r)
      jobs.push_back({chunk.sequence, rows.scored_from + r + 1, inputs_.first_row[i] + r});
    scores.resize(std::max<size_t>(scores.size(), rows.scored_from + rows.scored + 1));
  }
  if (jobs.empty()) return;
  team_.ParallelFor(static_cast<int64_t>(jobs.size()), [&](int64_t i, int worker) {
    const Job& job = jobs[i];
    job.sequence->prompt_logprobs[job.position] =
        samplers_[worker].Score(logits_.subspan(job.row * options_.vocab, options_.vocab),
                                job.sequence->tokens[job.position], *job.sequence->sampling().prompt_logprobs);
  });
}

// Takes in what a chunk computed and drew.
void Generator::Commit(size_t index) {
  const Chunk chunk = decision_.run[index];
  Sequence& sequence = *chunk.sequence;
  counters_.computed_tokens += chunk.Total();
  const auto own = std::find_if(draws_.begin(), draws_.end(), [&](const Draws& d) { return d.sequence == &sequence; });
  const int64_t drawn = own == draws_.end() ? 0 : static_cast<int64_t>(own->drawn.size());
  const int64_t accepted = std::max<int64_t>(0, drawn - 1);
  counters_.draft_tokens += chunk.drafts;
  counters_.accepted_tokens += accepted;
  sequence.computed = chunk.start + chunk.count + accepted;
  sequence.drafts.clear();
  sequence.drafter.Learn(chunk.drafts, static_cast<int>(accepted));
  Publish(sequence);
  if (own == draws_.end()) return;
  // The prompt is there: those that waited for it go their own ways. The leader's blocks are needed for that.
  for (Draws& draws : draws_)
    if (draws.chunk == index && draws.sequence && draws.sequence != &sequence) {
      --following_;
      draws.sequence->phase = Phase::kFinished;
      draws.sequence->cached_tokens = sequence.cached_tokens;
      draws.sequence->prompt_logprobs = sequence.prompt_logprobs;
      if (draws.finish == Finish::kNone) Fork(sequence, *draws.sequence);
    }
  for (Draws& draws : draws_)
    if (draws.chunk == index && draws.sequence) Emit(draws);
}

void Generator::Publish(Sequence& sequence) {
  const int64_t size = options_.block_tokens;
  for (int& i = sequence.published; (i + 1) * size <= sequence.computed; ++i) {
    const int parent = i == 0 ? kNoBlock : sequence.blocks[i - 1];
    const std::span<const TokenId> tokens(sequence.tokens.data() + i * size, size);
    sequence.blocks[i] = pool_.Publish(sequence.blocks[i], {parent, sequence.request->salt, tokens});
  }
}

// A follower shares the prompt's full blocks and gets a copy of the last, partial one. Where no block or place is left
// it waits, as if preempted.
void Generator::Fork(Sequence& leader, Sequence& follower) {
  const int64_t prompt = follower.prompt_length();
  const int64_t full = prompt / options_.block_tokens;
  follower.rank = leader.rank;
  follower.last_step = leader.last_step;
  const bool partial = prompt % options_.block_tokens != 0;
  const int copy = partial ? pool_.Acquire() : kNoBlock;
  if (partial && copy == kNoBlock) return scheduler_.Add(follower);
  for (int64_t i = 0; i < full; ++i) pool_.Share(leader.blocks[i]), follower.blocks.push_back(leader.blocks[i]);
  if (partial) {
    follower.blocks.push_back(copy);
    runner_->CopyBlock(leader.blocks[full], copy);
  }
  follower.computed = prompt;
  follower.published = static_cast<int>(std::min<int64_t>(full, leader.published));
  if (scheduler_.Adopt(follower)) return;
  pool_.ReleaseAll(follower.blocks);
  follower.computed = 0;
  follower.published = 0;
  scheduler_.Add(follower);
}

void Generator::Emit(Draws& draws) {
  Sequence& sequence = *draws.sequence;
  const SamplingParams& params = sequence.sampling();
  counters_.generated_tokens += static_cast<int64_t>(draws.drawn.size());
  const size_t count = draws.drawn.size() + (draws.drawn.empty() || draws.error ? 1 : 0);
  for (size_t i = 0; i < count; ++i) {
    TokenEvent event = EventOf(sequence);
    if (i < draws.drawn.size()) {
      event.token = draws.drawn[i].token;
      if (params.logprobs) {
        event.logprob = draws.drawn[i].logprob;
        event.top = std::move(draws.drawn[i].top);
      }
    }
    if (i + 1 == count) {
      event.finish = draws.finish;
      event.error = draws.error;
    }
    events_.push_back(std::move(event));
  }
  if (draws.finish != Finish::kNone) Forget(sequence);
}

}  // namespace ziggurat::llm
