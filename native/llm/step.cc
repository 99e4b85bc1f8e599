#include "llm/step.h"

#include <algorithm>
#include <bit>

namespace ziggurat::llm {

ChunkRows RowsOf(const Chunk& chunk) {
  const Sequence& s = *chunk.sequence;
  ChunkRows rows;
  if (s.sampling().prompt_logprobs) {
    // Position p scores prompt token p + 1; what an earlier run scored (before a preemption) is not asked for again.
    const int64_t next = std::max<int64_t>(static_cast<int64_t>(s.prompt_logprobs.size()), 1) - 1;
    rows.scored_from = std::max(chunk.start, next);
    rows.scored = std::max<int64_t>(0, std::min(chunk.start + chunk.count, s.prompt_length() - 1) - rows.scored_from);
  }
  if (chunk.Samples() && s.sampling().max_tokens > 0) rows.drawn = 1 + chunk.drafts;
  return rows;
}

void BuildStep(std::span<const Chunk> chunks, int block_tokens, StepInputs& in) {
  for (auto* list : {&in.tokens, &in.positions, &in.slots, &in.starts, &in.rows, &in.first_row}) list->clear();
  size_t most_blocks = 1;
  for (const Chunk& chunk : chunks) most_blocks = std::max(most_blocks, chunk.sequence->blocks.size());
  // 16 blocks are one chunk of attention (512 tokens); powers of two above.
  in.blocks_per_sequence = static_cast<int64_t>(std::bit_ceil(std::max<size_t>(16, most_blocks)));
  in.sequences = static_cast<int64_t>(std::bit_ceil(std::max<size_t>(8, chunks.size())));
  in.blocks.assign(in.sequences * in.blocks_per_sequence, 0);
  in.starts.push_back(0);
  for (size_t i = 0; i < chunks.size(); ++i) {
    const Chunk& chunk = chunks[i];
    const Sequence& s = *chunk.sequence;
    const int64_t first = static_cast<int64_t>(in.tokens.size());
    for (int64_t p = chunk.start; p < chunk.start + chunk.Total(); ++p) {
      in.tokens.push_back(p < s.length() ? s.tokens[p] : s.drafts[p - s.length()]);
      in.positions.push_back(p);
      in.slots.push_back(int64_t{s.blocks[p / block_tokens]} * block_tokens + p % block_tokens);
    }
    std::copy(s.blocks.begin(), s.blocks.end(), in.blocks.begin() + static_cast<int64_t>(i) * in.blocks_per_sequence);
    in.first_row.push_back(static_cast<int64_t>(in.rows.size()));
    const ChunkRows rows = RowsOf(chunk);
    for (int64_t r = 0; r < rows.scored; ++r) in.rows.push_back(first + rows.scored_from + r - chunk.start);
    for (int64_t r = 0; r < rows.drawn; ++r) in.rows.push_back(first + chunk.count - 1 + r);
    in.starts.push_back(static_cast<int64_t>(in.tokens.size()));
  }
  in.starts.resize(in.sequences + 1, static_cast<int64_t>(in.tokens.size()));
}

}  // namespace ziggurat::llm
