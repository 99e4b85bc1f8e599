#include "llm/block_pool.h"

#include "base/error.h"

namespace ziggurat::llm {

BlockPool::BlockPool(int blocks, int block_tokens, bool prefix_cache, HashKey key, int hash_bits)
    : block_tokens_(block_tokens),
      prefix_cache_(prefix_cache),
      index_(blocks, block_tokens, key, hash_bits),
      references_(blocks, 0),
      newer_(blocks, kNoBlock),
      older_(blocks, kNoBlock) {
  ZIGGURAT_CHECK(blocks > 0 && block_tokens > 0);
  for (int block = blocks - 1; block >= 0; --block) free_.push_back(block);
}

void BlockPool::Append(int block) {
  older_[block] = newest_;
  newer_[block] = kNoBlock;
  (newest_ == kNoBlock ? oldest_ : newer_[newest_]) = block;
  newest_ = block;
  ++cached_;
}

void BlockPool::Unlink(int block) {
  (older_[block] == kNoBlock ? oldest_ : newer_[older_[block]]) = newer_[block];
  (newer_[block] == kNoBlock ? newest_ : older_[newer_[block]]) = older_[block];
  --cached_;
}

int BlockPool::Acquire() {
  int block = kNoBlock;
  if (!free_.empty()) {
    block = free_.back();
    free_.pop_back();
  } else if (oldest_ != kNoBlock) {
    block = oldest_;
    Unlink(block);
    index_.Erase(block);
  } else {
    return kNoBlock;
  }
  references_[block] = 1;
  return block;
}

void BlockPool::Share(int block) {
  if (references_[block] == 0) {
    ZIGGURAT_CHECK(index_.Contains(block));
    Unlink(block);
  }
  ++references_[block];
}

void BlockPool::Release(int block) {
  ZIGGURAT_CHECK(references_[block] > 0);
  if (--references_[block] > 0) return;
  if (index_.Contains(block))
    Append(block);
  else
    free_.push_back(block);
}

void BlockPool::ReleaseAll(std::vector<int>& blocks) {
  for (; !blocks.empty(); blocks.pop_back()) Release(blocks.back());
}

void BlockPool::Match(std::string_view salt, std::span<const int32_t> tokens, int limit, std::vector<int>& blocks) {
  if (!prefix_cache_) return;
  int parent = kNoBlock;
  for (int i = 0; i < limit && (i + 1) * static_cast<size_t>(block_tokens_) <= tokens.size(); ++i) {
    const int block = index_.Find({parent, salt, tokens.subspan(size_t(i) * block_tokens_, block_tokens_)});
    if (block == kNoBlock) return;
    Share(block);
    blocks.push_back(block);
    parent = block;
  }
}

int BlockPool::Publish(int block, const BlockContent& content) {
  ZIGGURAT_CHECK(references_[block] > 0);
  // Behind a block that the index does not know (its hash was taken) the chain ends.
  if (!prefix_cache_ || (content.parent != kNoBlock && !index_.Contains(content.parent))) return block;
  if (const int known = index_.Find(content); known != kNoBlock) {
    Share(known);
    Release(block);
    return known;
  }
  index_.Insert(block, content);
  return block;
}

void BlockPool::CheckInvariants(std::span<const int> holders) const {
  ZIGGURAT_CHECK(static_cast<int>(holders.size()) == total());
  std::vector<int> seen(total(), 0);  // 1: free, 2: cached
  for (int block : free_) {
    ZIGGURAT_CHECK(seen[block] == 0 && references_[block] == 0 && !index_.Contains(block));
    seen[block] = 1;
  }
  int count = 0;
  for (int block = oldest_, before = kNoBlock; block != kNoBlock; before = block, block = newer_[block], ++count) {
    ZIGGURAT_CHECK(count < total() && older_[block] == before);
    ZIGGURAT_CHECK(seen[block] == 0 && references_[block] == 0 && index_.Contains(block));
    // A child would be evicted first: none of the blocks passed so far may be this one's parent.
    const int parent = index_.Parent(block);
    ZIGGURAT_CHECK(parent == kNoBlock || seen[parent] == 0);
    seen[block] = 2;
  }
  ZIGGURAT_CHECK(count == cached_);
  size_t known = 0;
  for (int block = 0; block < total(); ++block) {
    ZIGGURAT_CHECK(references_[block] == holders[block]);
    ZIGGURAT_CHECK(references_[block] > 0 || seen[block] != 0);
    if (!index_.Contains(block)) continue;
    ++known;
    const int parent = index_.Parent(block);
    ZIGGURAT_CHECK(parent == kNoBlock || (index_.Contains(parent) && references_[parent] >= (references_[block] > 0)));
  }
  ZIGGURAT_CHECK(known == index_.size());
}

}  // namespace ziggurat::llm
