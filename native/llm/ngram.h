// Guesses the next tokens of a sequence from the sequence itself: what followed its last three tokens the last time
// they occurred ("prompt lookup decoding", Saxena 2023). Pays where answers repeat their input.
//
// A guess changes no result: the step that checks it draws each token as if there were no guess, and keeps what was
// computed from guesses only as far as they are what was drawn. It costs a row of work, so a sequence whose guesses
// keep failing stops guessing for a while, each time for twice as long.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "llm/tokens.h"

namespace ziggurat::llm {

class NgramDrafter {
 public:
  static constexpr int kOrder = 3;

  // At most `limit` guesses of what follows `tokens`, which only ever grows between calls.
  void Propose(std::span<const TokenId> tokens, int limit, std::vector<TokenId>& drafts);
  // How the last guesses did.
  void Learn(int drafts, int accepted);

 private:
  static uint64_t KeyAt(std::span<const TokenId> tokens, size_t end);

  std::unordered_map<uint64_t, size_t> after_;  // of kOrder tokens: where what follows them lies, the last time
  size_t seen_ = kOrder;                        // ends of n-grams below it are in the table
  double share_ = 0.5;                          // of guesses that were right, with a memory of some five steps
  int pause_ = 0, next_pause_ = 16;             // in steps
};

}  // namespace ziggurat::llm
