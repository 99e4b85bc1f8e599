// The inputs of one model run, from a decision. Names and shapes are those of the decoder graph.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "llm/scheduler.h"

namespace ziggurat::llm {

// t tokens of all chunks together; chunk i is starts[i] .. starts[i + 1], its context lies in row i of `blocks`.
// `starts` and `blocks` are padded with empty sequences, and rows of `blocks` with block 0, so that few shapes occur.
struct StepInputs {
  std::vector<int64_t> tokens, positions, slots;  // [t]
  std::vector<int64_t> starts;                    // [sequences + 1]
  std::vector<int64_t> blocks;                    // [sequences, blocks_per_sequence]
  std::vector<int64_t> rows;                      // indices into tokens whose logits are wanted
  int64_t sequences = 0;
  int64_t blocks_per_sequence = 0;
  std::vector<int64_t> first_row;  // by chunk: its first entry in `rows`
};

// Rows of a chunk are, in order: one for each prompt token whose successor in the prompt is still to be scored, then,
// if the chunk reaches the sequence's end, those that the next token and the ones after the guesses are drawn from.
// Both parts share the row of the prompt's last token only where nothing is scored there.
struct ChunkRows {
  int64_t scored_from = 0, scored = 0;  // prompt positions whose row predicts the next prompt token
  int64_t drawn = 0;
};
ChunkRows RowsOf(const Chunk& chunk);

// Reuses the vectors' memory.
void BuildStep(std::span<const Chunk> chunks, int block_tokens, StepInputs& inputs);

}  // namespace ziggurat::llm
