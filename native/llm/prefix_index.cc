#include "llm/prefix_index.h"

#include <algorithm>

#include "base/error.h"

namespace ziggurat::llm {

PrefixIndex::PrefixIndex(int blocks, int block_tokens, HashKey key, int hash_bits)
    : block_tokens_(block_tokens),
      key_(key),
      hash_bits_(hash_bits),
      entries_(blocks),
      tokens_(static_cast<size_t>(blocks) * block_tokens) {}

Hash128 PrefixIndex::HashOf(const BlockContent& content) const {
  SipHash sip(key_);
  if (content.parent == kNoBlock) {
    sip.AddBytes(content.salt.data(), content.salt.size());
  } else {
    sip.Add(entries_[content.parent].hash.low);
    sip.Add(entries_[content.parent].hash.high);
  }
  sip.AddBytes(content.tokens.data(), content.tokens.size_bytes());
  Hash128 hash = sip.Finish();
  if (hash_bits_ < 128) {
    hash.high = 0;
    hash.low &= (uint64_t{1} << std::min(hash_bits_, 63)) - 1;
  }
  return hash;
}

bool PrefixIndex::Holds(int block, const BlockContent& content) const {
  const Entry& entry = entries_[block];
  return entry.parent == content.parent && (content.parent != kNoBlock || entry.salt == content.salt) &&
         std::equal(content.tokens.begin(), content.tokens.end(), tokens_.begin() + size_t(block) * block_tokens_);
}

int PrefixIndex::Find(const BlockContent& content) const {
  const auto found = by_hash_.find(HashOf(content));
  return found != by_hash_.end() && Holds(found->second, content) ? found->second : kNoBlock;
}

bool PrefixIndex::Insert(int block, const BlockContent& content) {
  ZIGGURAT_CHECK(static_cast<int>(content.tokens.size()) == block_tokens_ && !entries_[block].present);
  ZIGGURAT_CHECK(content.parent == kNoBlock || entries_[content.parent].present);
  const Hash128 hash = HashOf(content);
  if (!by_hash_.try_emplace(hash, block).second) return false;
  entries_[block] = {hash, content.parent, true, content.parent == kNoBlock ? std::string(content.salt) : ""};
  std::copy(content.tokens.begin(), content.tokens.end(), tokens_.begin() + size_t(block) * block_tokens_);
  return true;
}

void PrefixIndex::Erase(int block) {
  ZIGGURAT_CHECK(entries_[block].present);
  by_hash_.erase(entries_[block].hash);
  entries_[block] = {};
}

}  // namespace ziggurat::llm
