#include "llm/hash.h"

#include "check.h"
#include "llm/philox.h"

using namespace ziggurat::llm;

namespace {

// The reference's key, bytes 0 to 15.
constexpr HashKey kKey{0x0706050403020100u, 0x0f0e0d0c0b0a0908u};

}  // namespace

TEST(siphash_gives_the_reference_vectors_of_whole_words) {
  // vectors_sip128 of the authors' reference implementation, message bytes 0, 1, 2, ...
  CHECK((SipHash(kKey).Finish() == Hash128{0xe6a825ba047f81a3u, 0x930255c71472f66du}));
  SipHash eight(kKey);
  eight.Add(0x0706050403020100u);
  CHECK((eight.Finish() == Hash128{0x61f55862baa9623bu, 0xb49714f364e2830fu}));
}

TEST(siphash_of_bytes_depends_on_their_number_and_the_key) {
  auto hash = [](std::string_view text, HashKey key) {
    SipHash sip(key);
    sip.AddBytes(text.data(), text.size());
    return sip.Finish();
  };
  using namespace std::string_view_literals;
  CHECK(hash("abc", kKey) == hash("abc", kKey));
  CHECK(!(hash("abc", kKey) == hash("abd", kKey)));
  CHECK(!(hash("abc"sv, kKey) == hash("abc\0"sv, kKey)));
  CHECK(!(hash(""sv, kKey) == hash("\0\0\0\0\0\0\0\0"sv, kKey)));
  CHECK(!(hash("abc", kKey) == hash("abc", HashKey{1, 2})));
}

TEST(philox_gives_the_known_answers) {
  // kat_vectors of Random123, philox4x32 10.
  CHECK((Philox({0, 0}, {0, 0, 0, 0}) == std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = ~0u;
  CHECK((Philox({ones, ones}, {ones, ones, ones, ones}) ==
         std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  CHECK((Philox({0xa4093822, 0x299f31d0}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}) ==
         std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(draws_are_uniform_and_differ_by_seed_index_and_position) {
  double sum = 0;
  int tenths[10] = {};
  for (int i = 0; i < 10000; ++i) {
    const double u = UniformAt(7, 0, i);
    CHECK(u >= 0 && u < 1);
    sum += u;
    ++tenths[static_cast<int>(u * 10)];
  }
  CHECK(sum > 4870 && sum < 5130, sum);  // 4.5 standard deviations
  for (int count : tenths) CHECK(count > 880 && count < 1120, count);
  CHECK(UniformAt(7, 0, 5) == UniformAt(7, 0, 5));
  CHECK(UniformAt(7, 0, 5) != UniformAt(8, 0, 5) && UniformAt(7, 0, 5) != UniformAt(7, 1, 5));
  CHECK(UniformAt(7, 0, 5) != UniformAt(7 + (uint64_t{1} << 32), 0, 5));
}
