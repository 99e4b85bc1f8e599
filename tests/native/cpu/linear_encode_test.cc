#include "check.h"
#include "cpu/linear_cases.h"

namespace ziggurat::test {
namespace {

struct Encoded {
  std::vector<uint8_t> blocks;
  std::vector<float> values;  // decoded again
  int64_t refused;
};

Encoded Encode(const cpu::LinearKernels& kernels, const LinearCase& c, const std::vector<float>& w, int64_t rows) {
  const int64_t k = static_cast<int64_t>(w.size()) / rows;
  Encoded out{std::vector<uint8_t>(static_cast<size_t>(rows * k / c.elements * c.bytes)), w, -1};
  out.refused = kernels.encode({c.format, w.data(), rows, k, out.blocks.data()});
  const int64_t strips = (rows + cpu::kStripRows - 1) / cpu::kStripRows;
  Buffer packed(strips * kernels.strip_bytes(c.format, k) / 4);
  auto* bytes = reinterpret_cast<std::byte*>(packed.data());
  kernels.pack({c.format, out.blocks.data(), rows, k, 0, strips, bytes});
  for (int64_t row = 0; row < rows; ++row) kernels.unpack_row(c.format, bytes, k, row, &out.values[row * k]);
  return out;
}

const LinearCase& CaseOf(const char* name) {
  for (const LinearCase& c : kLinearCases)
    if (std::string(c.name) == name) return c;
  throw Error(Code::kInternal, name);
}

std::vector<float> Weights(int64_t rows, int64_t k) {
  std::mt19937 generator(7);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> w(static_cast<size_t>(rows * k));
  for (float& value : w) value = normal(generator);
  return w;
}

}  // namespace

TEST(linear_encode_gives_the_same_bytes_on_every_instruction_set) {
  const std::vector<float> w = Weights(5, 320);
  for (const char* name : {"Q4_0", "Q8_0"}) {
    std::vector<uint8_t> first;
    for (const cpu::KernelTable* table : HostTables()) {
      const Encoded encoded = Encode(*table->linear, CaseOf(name), w, 5);
      if (first.empty()) first = encoded.blocks;
      CHECK(encoded.blocks == first, table->isa, " ", name);
    }
  }
}

TEST(linear_encode_of_q8_0_is_within_half_a_step) {
  for (const cpu::KernelTable* table : HostTables()) {
    const std::vector<float> w = Weights(3, 96);
    const Encoded encoded = Encode(*table->linear, CaseOf("Q8_0"), w, 3);
    for (size_t group = 0; group < w.size(); group += 32) {
      float amax = 0;
      for (size_t i = group; i < group + 32; ++i) amax = std::max(amax, std::fabs(w[i]));
      // The scale is rounded to a float16, so the largest value may miss by 127 * 2^-11 of a step.
      for (size_t i = group; i < group + 32; ++i)
        CHECK(std::fabs(w[i] - encoded.values[i]) <= amax / 127 * 0.57f, table->isa, " element ", i);
    }
  }
}

// The plain rule takes d = -(element of largest magnitude) / 8.
TEST(linear_encode_of_q4_0_has_less_error_than_the_plain_rule) {
  for (const cpu::KernelTable* table : HostTables()) {
    const std::vector<float> w = Weights(16, 512);
    const Encoded encoded = Encode(*table->linear, CaseOf("Q4_0"), w, 16);
    double ours = 0, plain = 0;
    for (size_t group = 0; group < w.size(); group += 32) {
      float largest = 0;
      for (size_t i = group; i < group + 32; ++i)
        if (std::fabs(w[i]) > std::fabs(largest)) largest = w[i];
      const double d = largest / -8.0;
      for (size_t i = group; i < group + 32; ++i) {
        const double q = std::min(7.0, std::max(-8.0, std::nearbyint(w[i] / d)));
        plain += (w[i] - d * q) * (w[i] - d * q);
        ours += std::pow(static_cast<double>(w[i]) - encoded.values[i], 2);
      }
    }
    CHECK(ours < 0.92 * plain, table->isa, " ours ", ours, " plain ", plain);
  }
}

TEST(linear_encode_keeps_zeros_and_what_codes_hold_exactly) {
  for (const cpu::KernelTable* table : HostTables())
    for (const char* name : {"Q4_0", "Q8_0"}) {
      std::vector<float> w(96, 0.0f);
      for (int i = 0; i < 32; ++i) w[32 + i] = 0.25f * static_cast<float>(i % 16 - 8);  // Q4_0: all 16 codes
      for (int i = 0; i < 32; ++i) w[64 + i] = -0.5f;
      const Encoded encoded = Encode(*table->linear, CaseOf(name), w, 1);
      for (size_t i = 0; i < 96; ++i) {
        const float error = std::fabs(encoded.values[i] - w[i]);
        CHECK(error <= (std::string(name) == "Q4_0" ? (i < 64 ? 0.0f : 0.5f * 0x1p-11f) : 2.0f / 127 * 0.57f),
              table->isa, " ", name, " element ", i, " ", encoded.values[i]);
        CHECK(w[i] != 0 || encoded.values[i] == 0, table->isa, " ", name, " zero ", i);
      }
    }
}

TEST(linear_encode_names_the_row_it_cannot_hold) {
  for (const cpu::KernelTable* table : HostTables())
    for (const char* name : {"Q4_0", "Q8_0"})
      for (float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN(), 1e30f}) {
        std::vector<float> w = Weights(4, 64);
        w[2 * 64 + 40] = bad;
        CHECK(Encode(*table->linear, CaseOf(name), w, 4).refused == 2, table->isa, " ", name);
        w[2 * 64 + 40] = 1e-30f;
        CHECK(Encode(*table->linear, CaseOf(name), w, 4).refused == -1, table->isa, " ", name);
      }
}

}  // namespace ziggurat::test
