#include "llm/block_pool.h"

#include <random>

#include "check.h"

using namespace ziggurat;
using namespace ziggurat::llm;

namespace {

constexpr HashKey kKey{11, 22};
using Tokens = std::vector<int32_t>;

// Holds blocks for `tokens` as a sequence does: matched ones first, then its own, published where they are full.
std::vector<int> Hold(BlockPool& pool, const Tokens& tokens, std::string_view salt = "") {
  std::vector<int> blocks;
  const int size = pool.block_tokens();
  pool.Match(salt, tokens, static_cast<int>(tokens.size()) / size, blocks);
  for (size_t i = blocks.size(); i * size < tokens.size(); ++i) {
    blocks.push_back(pool.Acquire());
    if ((i + 1) * size <= tokens.size())
      blocks[i] =
          pool.Publish(blocks[i], {i ? blocks[i - 1] : kNoBlock, salt, std::span(tokens).subspan(i * size, size)});
  }
  return blocks;
}

int Matched(BlockPool& pool, const Tokens& tokens, std::string_view salt = "") {
  std::vector<int> blocks;
  pool.Match(salt, tokens, 1000, blocks);
  const int count = static_cast<int>(blocks.size());
  pool.ReleaseAll(blocks);
  return count;
}

}  // namespace

TEST(blocks_run_out_and_come_back) {
  BlockPool pool(3, 4, true, kKey);
  const int a = pool.Acquire(), b = pool.Acquire(), c = pool.Acquire();
  CHECK(a != b && b != c && a != c && a >= 0 && b >= 0 && c >= 0);
  CHECK(pool.Acquire() == kNoBlock && pool.available() == 0 && pool.held() == 3);
  pool.Share(b);
  pool.Release(b);
  CHECK(pool.Acquire() == kNoBlock);
  pool.Release(b);
  CHECK(pool.Acquire() == b);
  pool.CheckInvariants(std::vector<int>{1, 1, 1});
}

TEST(a_prefix_is_found_again_as_far_as_it_is_equal_and_full) {
  BlockPool pool(8, 4, true, kKey);
  auto blocks = Hold(pool, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  CHECK(Matched(pool, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}) == 2);
  CHECK(Matched(pool, {1, 2, 3, 4, 5, 6, 7, 0}) == 1);
  CHECK(Matched(pool, {0, 2, 3, 4, 5, 6, 7, 8}) == 0);
  CHECK(Matched(pool, {5, 6, 7, 8}) == 0);  // content is a block and all before it
  CHECK(Matched(pool, {1, 2, 3}) == 0);
  pool.ReleaseAll(blocks);
  CHECK(pool.held() == 0 && pool.cached() == 2);
  CHECK(Matched(pool, {1, 2, 3, 4, 5, 6, 7, 8}) == 2);
  pool.CheckInvariants(std::vector<int>(8, 0));
}

TEST(a_prefix_belongs_to_its_salt) {
  BlockPool pool(8, 4, true, kKey);
  auto blocks = Hold(pool, {1, 2, 3, 4, 5, 6, 7, 8}, "tenant a");
  CHECK(Matched(pool, {1, 2, 3, 4, 5, 6, 7, 8}, "tenant a") == 2);
  CHECK(Matched(pool, {1, 2, 3, 4, 5, 6, 7, 8}, "tenant b") == 0);
  CHECK(Matched(pool, {1, 2, 3, 4, 5, 6, 7, 8}) == 0);
}

TEST(a_salt_does_not_pass_for_another_tenants_even_where_all_hashes_collide) {
  BlockPool pool(8, 4, true, kKey, 0);
  auto blocks = Hold(pool, {1, 2, 3, 4}, "tenant a");
  CHECK(Matched(pool, {1, 2, 3, 4}, "tenant a") == 1);
  CHECK(Matched(pool, {1, 2, 3, 4}, "tenant b") == 0);
  CHECK(Matched(pool, {1, 2, 3, 5}, "tenant a") == 0);
}

TEST(equal_blocks_become_one) {
  BlockPool pool(8, 4, true, kKey);
  auto first = Hold(pool, {1, 2, 3, 4});
  const int own = pool.Acquire();
  const int canonical = pool.Publish(own, {kNoBlock, "", Tokens{1, 2, 3, 4}});
  CHECK(canonical == first[0] && pool.References(canonical) == 2 && pool.held() == 1);
}

TEST(the_block_unused_for_longest_is_forgotten_first_and_children_before_parents) {
  BlockPool pool(4, 2, true, kKey);
  auto a = Hold(pool, {1, 1, 2, 2});
  auto b = Hold(pool, {3, 3, 4, 4});
  pool.ReleaseAll(a);
  pool.ReleaseAll(b);
  CHECK(pool.cached() == 4);
  CHECK(Matched(pool, {1, 1, 2, 2}) == 2);  // used again: now b is older
  std::vector<int> taken{pool.Acquire()};
  CHECK(Matched(pool, {3, 3, 4, 4}) == 1 && Matched(pool, {1, 1, 2, 2}) == 2);
  pool.CheckInvariants(std::vector<int>{taken[0] == 0, taken[0] == 1, taken[0] == 2, taken[0] == 3});
  taken.push_back(pool.Acquire());  // the match made b's first block the newest but one chain
  taken.push_back(pool.Acquire());
  taken.push_back(pool.Acquire());
  CHECK(taken.back() != kNoBlock && pool.Acquire() == kNoBlock && pool.cached() == 0);
}

TEST(without_a_prefix_cache_nothing_is_kept) {
  BlockPool pool(4, 2, false, kKey);
  auto a = Hold(pool, {1, 1, 2, 2});
  CHECK(Matched(pool, {1, 1, 2, 2}) == 0);
  pool.ReleaseAll(a);
  CHECK(pool.cached() == 0 && pool.available() == 4);
}

// Many sequences over few distinct tokens, hashes of a few bits: what a match returns must be what was asked for.
TEST(random_sequences_never_see_blocks_of_other_content) {
  for (int bits : {128, 5, 1}) {
    BlockPool pool(24, 2, true, kKey, bits);
    std::mt19937 random(bits);
    struct Held {
      std::vector<int> blocks;
    };
    std::vector<Held> held;
    std::vector<std::vector<int32_t>> content(24);  // what each block holds, with all before it
    int matches = 0;
    for (int round = 0; round < 3000; ++round) {
      if (held.size() > 4 || (!held.empty() && random() % 3 == 0)) {
        const size_t victim = random() % held.size();
        pool.ReleaseAll(held[victim].blocks);
        held.erase(held.begin() + victim);
      } else {
        Tokens tokens(1 + random() % 9);
        for (auto& token : tokens) token = random() % 2;
        const std::string salt(1, "ab"[random() % 2]);
        std::vector<int> blocks;
        pool.Match(salt, tokens, 100, blocks);
        matches += !blocks.empty();
        auto prefix = [&](size_t blocks_in) {
          Tokens p{salt[0]};
          p.insert(p.end(), tokens.begin(), tokens.begin() + blocks_in * 2);
          return p;
        };
        for (size_t i = 0; i < blocks.size(); ++i) CHECK(content[blocks[i]] == prefix(i + 1));
        for (size_t i = blocks.size(); i * 2 < tokens.size(); ++i) {
          const int block = pool.Acquire();
          if (block == kNoBlock) break;
          blocks.push_back(block);
          if ((i + 1) * 2 > tokens.size()) break;
          content[block] = prefix(i + 1);
          blocks[i] = pool.Publish(block, {i ? blocks[i - 1] : kNoBlock, salt, std::span(tokens).subspan(i * 2, 2)});
          CHECK(content[blocks[i]] == prefix(i + 1));
        }
        held.push_back({blocks});
      }
      std::vector<int> holders(24, 0);
      for (const Held& h : held)
        for (int block : h.blocks) ++holders[block];
      pool.CheckInvariants(holders);
    }
    CHECK(matches > 100, bits, " ", matches);
  }
}
