#include "llm/ngram.h"

#include <algorithm>

namespace ziggurat::llm {
namespace {

constexpr double kLeastShare = 0.2;   // below it guessing pauses
constexpr double kTrialShare = 0.35;  // what a sequence starts from after a pause
constexpr double kMemory = 0.8;
constexpr int kLongestPause = 1024;

}  // namespace

uint64_t NgramDrafter::KeyAt(std::span<const TokenId> tokens, size_t end) {
  uint64_t key = 0;
  for (size_t i = end - kOrder; i < end; ++i) key = (key ^ static_cast<uint32_t>(tokens[i])) * 0x9E3779B97F4A7C15u;
  return key;
}

void NgramDrafter::Propose(std::span<const TokenId> tokens, int limit, std::vector<TokenId>& drafts) {
  drafts.clear();
  // The n-gram at the very end has no successor yet; it enters the table in a later call.
  for (; seen_ < tokens.size(); ++seen_) after_[KeyAt(tokens, seen_)] = seen_;
  if (pause_ > 0) {
    --pause_;
    return;
  }
  if (limit <= 0 || tokens.size() <= kOrder) return;
  const auto found = after_.find(KeyAt(tokens, tokens.size()));
  if (found == after_.end()) return;
  const size_t from = found->second;
  if (!std::equal(tokens.end() - kOrder, tokens.end(), tokens.begin() + from - kOrder)) return;
  const size_t count = std::min<size_t>(limit, tokens.size() - from);
  drafts.assign(tokens.begin() + from, tokens.begin() + from + count);
}

void NgramDrafter::Learn(int drafts, int accepted) {
  if (drafts == 0) return;
  share_ = kMemory * share_ + (1 - kMemory) * accepted / drafts;
  if (share_ >= kLeastShare) return;
  pause_ = next_pause_;
  next_pause_ = std::min(2 * next_pause_, kLongestPause);
  share_ = kTrialShare;
}

}  // namespace ziggurat::llm
