#include "check.h"
#include "cpu/linear_cases.h"

namespace ziggurat::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr double kUnit = 0x1p-24;  // of rounding

std::vector<int64_t> TokenCounts() {
  std::vector<int64_t> counts = {33, 300};
  for (int64_t t = 1; t <= 17; ++t) counts.push_back(t);
  return counts;
}

// x of very different sizes a row, with a group of zeros and one of subnormal numbers.
std::vector<float> Inputs(int64_t t, int64_t k, uint32_t seed) {
  std::vector<float> x = RandomFloats(t * k, seed);
  for (int64_t i = 0; i < t; ++i)
    for (int64_t j = 0; j < k; ++j) x[i * k + j] *= static_cast<float>(std::pow(2.0, i % 9 - 4));
  for (int64_t j = 0; j < 32; ++j) x[j] = 0;
  if (t > 1)
    for (int64_t j = 0; j < 32; ++j) x[k + j] = 1e-39f * static_cast<float>(j);
  return x;
}

// y against float64 sums of the same quantised input, and against the exact product of x.
void CheckProduct(LinearProblem& p, const std::vector<float>& x, const LinearProblem::Input& input, const float* bias,
                  Buffer& y, int64_t t) {
  for (int64_t i = 0; i < t; ++i)
    for (int64_t j = 0; j < p.n; ++j) {
      double quantised = bias ? bias[j] : 0, exact = quantised, size = std::fabs(quantised), bound = 0, largest = 0;
      for (int64_t kk = 0; kk < p.k; ++kk) {
        const double w = p.weights[j * p.k + kk];
        const double s = input.groups[(i * p.k + kk) / 32].scale;
        quantised += w * s * input.q[i * p.k + kk];
        exact += w * x[i * p.k + kk];
        bound += std::fabs(w) * (0.5 * s * (1 + 256 * kUnit) + 0x1p-118);
        largest = std::max(largest, std::fabs(w));
        size += s * std::abs(input.q[i * p.k + kk]);
      }
      // A group adds at most three roundings of sums no larger than its terms; codes reach twice the largest weight.
      const double rounding =
          3 * (static_cast<double>(p.k) / 16 + 2) * kUnit * (2 * largest * size + std::fabs(quantised));
      CHECK(std::fabs(y[i * p.n + j] - quantised) <= rounding, p.format.name, " t ", t, " n ", p.n, " k ", p.k, " at ",
            i, ",", j, " got ", y[i * p.n + j], " expected ", quantised, " within ", rounding);
      CHECK(std::fabs(y[i * p.n + j] - exact) <= bound + rounding, p.format.name, " at ", i, ",", j);
    }
}

}  // namespace

TEST(linear_input_is_quantised_by_the_stated_rule) {
  for (const cpu::KernelTable* table : HostTables()) {
    const int64_t t = 5, k = 96;
    const std::vector<float> values = Inputs(t, k, 3);
    Buffer x(values, 1);
    LinearProblem p(*table->linear, kLinearCases[0], 1, k, 1);
    const LinearProblem::Input input = p.Quantize(x.data(), t);
    for (int64_t group = 0; group < t * k / 32; ++group) {
      float amax = 0;
      int sum = 0;
      for (int64_t j = group * 32; j < group * 32 + 32; ++j) amax = std::max(amax, std::fabs(values[j]));
      if (amax < 0x1p-118f) amax = 0;
      CHECK(input.groups[group].scale == amax / 127.0f, table->isa, " group ", group);
      for (int64_t j = group * 32; j < group * 32 + 32; ++j) {
        const float q = amax ? std::nearbyint(values[j] * (127.0f / amax)) : 0.0f;
        CHECK(static_cast<float>(input.q[j]) == q, table->isa, " element ", j);
        sum += input.q[j];
      }
      CHECK(input.groups[group].sum == input.groups[group].scale * static_cast<float>(sum), table->isa);
    }
  }
}

TEST(linear_packed_rows_decode_to_the_bits_of_the_format) {
  for (const cpu::KernelTable* table : HostTables())
    for (const LinearCase& format : kLinearCases) {
      LinearProblem p(*table->linear, format, 21, 3 * format.elements, 51);
      std::vector<float> row(static_cast<size_t>(p.k));
      for (int64_t i = 0; i < p.n; ++i) {
        p.kernels.unpack_row(format.format, p.bytes(), p.k, i, row.data());
        CHECK(SameBits(row.data(), &p.weights[i * p.k], p.k), table->isa, " ", format.name, " row ", i);
      }
    }
}

TEST(linear_matches_float64_for_every_format_and_tail) {
  for (const cpu::KernelTable* table : HostTables())
    for (const LinearCase& format : kLinearCases)
      for (int64_t n : {1, 7, 8, 16, 33})
        for (int64_t blocks : {1, 3}) {
          LinearProblem p(*table->linear, format, n, blocks * format.elements, 11);
          const std::vector<float> bias = RandomFloats(n, 12);
          for (int64_t t : {1, 2, 3, 5, 8, 9, 25, 33}) {
            const std::vector<float> x = Inputs(t, p.k, static_cast<uint32_t>(100 + t));
            const LinearProblem::Input input = p.Quantize(Buffer(x, 3).data(), t);
            Buffer y(t * n, 5, NAN);
            const float* added = t % 2 ? bias.data() : nullptr;
            p.Multiply(input, 0, t, 0, p.strips(), added, y.data());
            CheckProduct(p, x, input, added, y, t);
          }
        }
}

TEST(linear_extreme_codes_do_not_overflow_the_narrow_sums) {
  for (const cpu::KernelTable* table : HostTables())
    for (const LinearCase& format : kLinearCases)
      for (int fill : {0x00, 0xff, 0x80, 0x7f}) {
        const int64_t k = 2 * 256, n = 16, t = 3;
        LinearProblem p(*table->linear, format, n, k, 5);
        for (size_t i = 0; i < p.blocks.size(); ++i) {
          const int64_t at = static_cast<int64_t>(i) % format.bytes;
          const bool scale =
              (at >= format.d && at < format.d + 2) || (format.m >= 0 && at >= format.m && at < format.m + 2);
          if (!scale) p.blocks[i] = static_cast<uint8_t>(fill);
        }
        p.kernels.pack({format.format, p.blocks.data(), n, k, 0, 1, p.bytes()});
        p.Decode();
        std::vector<float> x(t * k);  // all as large as the group's largest: all up, all down, in turns of two
        for (int64_t j = 0; j < k; ++j) x[j] = 1, x[k + j] = -1, x[2 * k + j] = j % 4 < 2 ? 1.0f : -1.0f;
        const LinearProblem::Input input = p.Quantize(x.data(), t);
        Buffer y(t * n, 0, NAN);
        p.Multiply(input, 0, t, 0, 1, nullptr, y.data());
        CheckProduct(p, x, input, nullptr, y, t);
      }
}

TEST(linear_bits_do_not_depend_on_tokens_strips_or_panels) {
  for (const cpu::KernelTable* table : HostTables())
    for (const LinearCase& format : kLinearCases) {
      // Over 16 groups, so that panels add up in y.
      const int64_t n = 40, k = format.elements == 32 ? 32 * 37 : 256 * 5, most = 300;
      LinearProblem p(*table->linear, format, n, k, 21);
      const std::vector<float> x = Inputs(most, k, 22), bias = RandomFloats(n, 23);
      const LinearProblem::Input input = p.Quantize(x.data(), most);
      Buffer alone(most * n, 0, NAN);
      for (int64_t i = 0; i < most; ++i) p.Multiply(input, i, i + 1, 0, p.strips(), bias.data(), alone.data());
      for (int64_t t : TokenCounts()) {
        Buffer y(t * n, 1, NAN);
        for (int64_t strip = 0; strip < p.strips(); ++strip)
          p.Multiply(input, 0, t, strip, strip + 1, bias.data(), y.data());
        CHECK(SameBits(y.data(), alone.data(), t * n), table->isa, " ", format.name, " t ", t);
      }
      const LinearProblem::Input again = p.Quantize(Buffer(x, 1).data() + 7 * k, 1);
      CHECK(std::memcmp(again.q.data(), input.q.data() + 7 * k, static_cast<size_t>(k)) == 0, table->isa);
    }
}

TEST(linear_non_finite_rows_are_nan_and_touch_no_other) {
  for (const cpu::KernelTable* table : HostTables())
    for (const LinearCase& format : kLinearCases)
      for (int64_t t : {1, 4, 7, 40})
        for (float bad : {kInf, -kInf, std::numeric_limits<float>::quiet_NaN()}) {
          const int64_t n = 19, k = 512, row = t / 2;
          LinearProblem p(*table->linear, format, n, k, 31);
          std::vector<float> x = Inputs(t, k, 32);
          Buffer clean(t * n, 0, NAN), y(t * n, 0, 0);
          p.Multiply(p.Quantize(x.data(), t), 0, t, 0, p.strips(), nullptr, clean.data());
          x[row * k + 300] = bad;
          p.Multiply(p.Quantize(x.data(), t), 0, t, 0, p.strips(), nullptr, y.data());
          for (int64_t i = 0; i < t; ++i)
            for (int64_t j = 0; j < n; ++j)
              CHECK(i == row ? std::isnan(y[i * n + j]) : SameBits(&y[i * n + j], &clean[i * n + j], 1), table->isa,
                    " ", format.name, " row ", i, " column ", j, " got ", y[i * n + j]);
        }
}

TEST(linear_without_k_gives_the_bias) {
  for (const cpu::KernelTable* table : HostTables()) {
    LinearProblem p(*table->linear, kLinearCases[0], 18, 0, 41);
    const std::vector<float> bias = RandomFloats(18, 42);
    Buffer y(2 * 18, 0, NAN);
    const LinearProblem::Input input;
    p.Multiply(input, 0, 2, 0, 2, bias.data(), y.data());
    CHECK(SameBits(y.data(), bias.data(), 18) && SameBits(y.data() + 18, bias.data(), 18), table->isa);
  }
}

}  // namespace ziggurat::test
