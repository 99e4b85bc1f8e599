// Full KV blocks by what they hold: a chain of hashes over (parent's hash, token ids), begun by a salt.
//
// A hash only leads to a candidate. What is returned was compared: its token ids, and its parent, which is the very
// block that the search came from, so that by induction the whole prefix and its salt are equal. Two conversations
// whose hashes collide, by chance or on purpose, never see each other's blocks.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "llm/hash.h"

namespace ziggurat::llm {

inline constexpr int kNoBlock = -1;

// What identifies a block's content: the block before it, or where there is none the salt; and its own token ids.
struct BlockContent {
  int parent = kNoBlock;
  std::string_view salt;
  std::span<const int32_t> tokens;  // exactly a block's
};

// Not thread-safe. The owner keeps each block's parent in the index for as long as the block is in it.
class PrefixIndex {
 public:
  // `hash_bits` < 128 drops bits of every hash: for tests, which want collisions.
  PrefixIndex(int blocks, int block_tokens, HashKey key, int hash_bits = 128);

  // The block that holds exactly this, or kNoBlock.
  int Find(const BlockContent& content) const;
  // False, and nothing changes, where the hash is taken by other content: that block then stays unknown.
  bool Insert(int block, const BlockContent& content);
  void Erase(int block);
  bool Contains(int block) const { return entries_[block].present; }
  int Parent(int block) const { return entries_[block].parent; }
  size_t size() const { return by_hash_.size(); }

 private:
  struct Entry {
    Hash128 hash;
    int parent = kNoBlock;
    bool present = false;
    std::string salt;  // of a block without parent
  };
  struct Truncate {
    size_t operator()(const Hash128& hash) const { return hash.low; }
  };

  Hash128 HashOf(const BlockContent& content) const;
  bool Holds(int block, const BlockContent& content) const;

  const int block_tokens_;
  const HashKey key_;
  const int hash_bits_;
  std::vector<Entry> entries_;   // by block
  std::vector<int32_t> tokens_;  // by block, block_tokens_ each
  std::unordered_map<Hash128, int, Truncate> by_hash_;
};

}  // namespace ziggurat::llm
