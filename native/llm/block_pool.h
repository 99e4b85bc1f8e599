// Who owns which KV block: reference counts, a free list, and cached blocks that nobody holds, oldest use first.
//
// A block is free (no references, content void), held (by one or more sequences), or cached: full, known to the prefix
// index, held by nobody, and the next to be reused when no block is free. Everything is O(1) a block.
//
// A block that the index knows is complete and never written again, so sharing it needs no copy. Who holds a block
// holds its parent too; a sequence releases its last block first, so a block is evicted before its parent.
#pragma once

#include <span>
#include <vector>

#include "llm/prefix_index.h"

namespace ziggurat::llm {

// Not thread-safe.
class BlockPool {
 public:
  BlockPool(int blocks, int block_tokens, bool prefix_cache, HashKey key, int hash_bits = 128);

  int total() const { return static_cast<int>(references_.size()); }
  int block_tokens() const { return block_tokens_; }
  int held() const { return total() - available(); }
  int available() const { return static_cast<int>(free_.size()) + cached_; }
  int cached() const { return cached_; }
  int References(int block) const { return references_[block]; }

  // A block with one reference and void content, or kNoBlock. Forgets the cached block that was unused for longest
  // if none is free.
  int Acquire();
  // One more holder of a held or cached block.
  void Share(int block);
  void Release(int block);
  // Releases from the back and empties the list.
  void ReleaseAll(std::vector<int>& blocks);

  // Appends the cached blocks that hold a prefix of `tokens`, one more holder each; at most `limit` blocks.
  void Match(std::string_view salt, std::span<const int32_t> tokens, int limit, std::vector<int>& blocks);
  // Makes a held block known by its content, which is complete now. Returns the block to use from here on: where the
  // same content is known already, that one, with the caller's reference moved to it.
  int Publish(int block, const BlockContent& content);

  // Throws kInternal unless counts and lists agree with one another and with `holders`: for each block how many
  // sequences hold it.
  void CheckInvariants(std::span<const int> holders) const;

 private:
  void Append(int block);
  void Unlink(int block);

  const int block_tokens_;
  const bool prefix_cache_;
  PrefixIndex index_;
  std::vector<int> references_;     // by block
  std::vector<int> free_;           // a stack
  std::vector<int> newer_, older_;  // by block: the list of cached blocks
  int oldest_ = kNoBlock, newest_ = kNoBlock;
  int cached_ = 0;
};

}  // namespace ziggurat::llm
