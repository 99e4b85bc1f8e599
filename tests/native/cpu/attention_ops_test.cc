// zig.FusedAttention and the standard's Attention against float64, and their bits across batches, cuts and threads.
#include <array>
#include <cmath>
#include <limits>

#include "check.h"
#include "cpu/op_harness.h"

namespace ziggurat::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// [batch, heads, sequence, size], also of tensors [batch, sequence, heads * size].
struct View4 {
  const HostTensor& x;
  int64_t heads;
  int64_t Sequence() const { return x.shape[x.shape.rank() - 2]; }
  int64_t Size() const { return x.shape.rank() == 4 ? x.shape[3] : x.shape[2] / heads; }
  double operator()(int64_t b, int64_t h, int64_t s, int64_t d) const {
    const int64_t size = Size();
    return x.At<float>(x.shape.rank() == 4 ? ((b * heads + h) * Sequence() + s) * size + d
                                           : ((b * Sequence() + s) * heads + h) * size + d);
  }
};

struct Problem {
  HostTensor q, k, v, bias;
  int64_t heads = 1, key_heads = 1;
  double scale = 1;
};

// Expected values, [batch, heads, queries, size of values].
std::vector<double> Reference(const Problem& p) {
  const View4 q{p.q, p.heads}, k{p.k, p.key_heads}, v{p.v, p.key_heads};
  const int64_t batch = p.q.shape[0], queries = q.Sequence(), keys = k.Sequence();
  const Shape scores{batch, p.heads, queries, keys};
  std::vector<double> out;
  for (int64_t row = 0; row < batch * p.heads * queries; ++row) {
    const int64_t b = row / queries / p.heads, h = row / queries % p.heads, s = row % queries;
    const int64_t own = h / (p.heads / p.key_heads);
    std::vector<double> score(static_cast<size_t>(keys));
    double most = -kInf, sum = 0;
    for (int64_t t = 0; t < keys; ++t) {
      double dot = 0;
      for (int64_t d = 0; d < q.Size(); ++d) dot += q(b, h, s, d) * k(b, own, t, d);
      score[t] = dot * p.scale;
      if (!p.bias.absent) score[t] += p.bias.At<float>(BroadcastIndex(row * keys + t, scores, p.bias.shape));
      most = std::max(most, score[t]);
    }
    for (double& x : score) sum += x = std::exp(x - most);
    for (int64_t d = 0; d < v.Size(); ++d) {
      double y = 0;
      for (int64_t t = 0; t < keys; ++t) y += score[t] / sum * v(b, own, t, d);
      out.push_back(keys ? y : 0);
    }
  }
  return out;
}

HostTensor RunFused(const cpu::KernelTable& table, const Problem& p, bool merge, int threads) {
  return OneOp("FusedAttention", {p.q, p.k, p.v, p.bias},
               {{"num_heads", p.heads}, {"scale", static_cast<float>(p.scale)}, {"merge_heads", int64_t{merge}}}, 1,
               "zig")
      .Run(table, threads)[0];
}

void CheckAgainst(const Problem& p, const HostTensor& y, bool merged, const std::string& what) {
  const std::vector<double> expected = Reference(p);
  const View4 got{y, p.heads};
  const int64_t batch = p.q.shape[0], queries = View4{p.q, p.heads}.Sequence();
  const int64_t size = View4{p.v, p.key_heads}.Size();
  CHECK(y.shape == (merged ? Shape{batch, queries, p.heads * size} : Shape{batch, p.heads, queries, size}), y.shape);
  for (int64_t i = 0; i < static_cast<int64_t>(expected.size()); ++i) {
    const double value = got(i / size / queries / p.heads, i / size / queries % p.heads, i / size % queries, i % size);
    const bool close = std::fabs(value - expected[i]) <= 1e-5 || (std::isnan(value) && std::isnan(expected[i]));
    CHECK(close, what, " at ", i, " got ", value, " expected ", expected[i]);
  }
}

Problem Make(int64_t batch, int64_t heads, int64_t queries, int64_t keys, int64_t size, int64_t value_size, bool flat,
             const Shape* bias) {
  const auto shape = [&](int64_t sequence, int64_t width) {
    return flat ? Shape{batch, sequence, heads * width} : Shape{batch, heads, sequence, width};
  };
  Problem p{RandomFloats(shape(queries, size), 1), RandomFloats(shape(keys, size), 2),
            RandomFloats(shape(keys, value_size), 3), bias ? RandomFloats(*bias, 4) : Absent()};
  p.heads = p.key_heads = heads;
  p.scale = 1 / std::sqrt(static_cast<double>(std::max<int64_t>(size, 1)));
  return p;
}

}  // namespace

TEST(fused_attention_matches_float64_in_every_shape) {
  struct Case {
    int64_t batch, heads, queries, keys, size, value_size;
    Shape bias;
  };
  const Case cases[] = {{1, 1, 1, 1, 1, 1, {}},         {2, 3, 17, 19, 5, 7, {2, 1, 1, 19}},
                        {1, 2, 30, 128, 64, 64, {128}}, {2, 2, 15, 129, 33, 16, {1, 2, 15, 129}},
                        {1, 1, 3, 700, 64, 40, {3, 1}}, {1, 2, 29, 1030, 130, 32, {1, 1, 29, 1030}},
                        {1, 1, 2, 512, 8, 1, {}},       {2, 1, 4, 0, 8, 3, {}},
                        {0, 2, 3, 4, 8, 8, {}},         {1, 2, 0, 4, 8, 8, {}},
                        {1, 1, 5, 6, 0, 4, {}},         {1, 12, 300, 40, 16, 16, {12, 1, 40}}};
  for (const cpu::KernelTable* table : HostTables())
    for (const Case& c : cases)
      for (int form = 0; form < 4; ++form) {
        const bool flat = form & 1, merged = form & 2;
        if (flat && (c.size == 0 || c.value_size == 0)) continue;
        const Problem p =
            Make(c.batch, c.heads, c.queries, c.keys, c.size, c.value_size, flat, c.bias.rank() ? &c.bias : nullptr);
        for (int threads : {1, 3})
          CheckAgainst(p, RunFused(*table, p, merged, threads), merged, Cat(table->isa, " keys ", c.keys, " ", form));
      }
}

TEST(a_query_has_the_same_bits_alone_in_a_batch_and_on_any_number_of_threads) {
  for (const cpu::KernelTable* table : HostTables())
    for (int64_t keys : {50, 1100}) {
      const Shape mask{3, 1, 1, keys};
      const Problem p = Make(3, 2, 150, keys, 24, 24, true, &mask);
      const HostTensor all = RunFused(*table, p, true, 1);
      for (int threads : {2, 3}) CHECK(RunFused(*table, p, true, threads).bytes == all.bytes, table->isa);
      Problem one = Make(1, 2, 1, keys, 24, 24, true, &mask);
      const auto part = [](const HostTensor& from, const Shape& shape, int64_t at) {
        HostTensor to{from.dtype, shape, {}};
        to.bytes.assign(from.bytes.begin() + at * 4, from.bytes.begin() + (at + shape.Count()) * 4);
        return to;
      };
      for (int64_t row : {0, 77, 149}) {
        one.q = part(p.q, {1, 1, 48}, (150 + row) * 48);
        one.k = part(p.k, {1, keys, 48}, keys * 48), one.v = part(p.v, {1, keys, 48}, keys * 48);
        one.bias = part(p.bias, {1, 1, 1, keys}, keys);
        const HostTensor alone = RunFused(*table, one, true, 2);
        CHECK(alone.bytes == part(all, {1, 1, 48}, (150 + row) * 48).bytes, table->isa, " row ", row);
      }
    }
}

TEST(masked_and_infinite_scores_give_what_the_separate_ops_give) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  for (const cpu::KernelTable* table : HostTables())
    for (int64_t keys : {20, 1040}) {
      const Shape mask{5, keys};
      Problem p = Make(1, 1, 5, keys, 8, 8, false, &mask);
      std::vector<float> bias(static_cast<size_t>(5 * keys), 0.0f);
      for (int64_t t = 0; t < keys; ++t) {
        bias[t] = -inf;                           // row 0 sees nothing
        if (t < keys - 3) bias[keys + t] = -inf;  // row 1 sees the last keys only
        if (t >= 3) bias[2 * keys + t] = -inf;    // row 2 the first only
      }
      bias[3 * keys + 1] = inf;
      bias[4 * keys + keys - 1] = nan;
      p.bias = Floats(mask, bias);
      const Attributes plain = {{"num_heads", int64_t{1}}, {"scale", 0.5f}};
      Attributes guarded = plain;
      guarded["nan_is_zero"] = int64_t{1};
      p.scale = 0.5;
      const HostTensor y = OneOp("FusedAttention", {p.q, p.k, p.v, p.bias}, plain, 1, "zig").Run(*table)[0];
      CheckAgainst(p, y, false, table->isa);
      const HostTensor safe = OneOp("FusedAttention", {p.q, p.k, p.v, p.bias}, guarded, 1, "zig").Run(*table)[0];
      for (int64_t i = 0; i < 5 * 8; ++i) {
        const float expected = std::isnan(y.At<float>(i)) ? 0.0f : y.At<float>(i);
        CHECK(safe.At<float>(i) == expected, table->isa, " at ", i, " got ", safe.At<float>(i));
      }
      for (int64_t row : {0, 3, 4}) CHECK(std::isnan(y.At<float>(row * 8)), "row ", row);
      const HostTensor standard = OneOp("Attention", {p.q, p.k, p.v, p.bias}, {{"scale", 0.5f}}).Run(*table)[0];
      for (int64_t i = 0; i < 8; ++i) CHECK(standard.At<float>(i) == 0 && std::isnan(standard.At<float>(3 * 8 + i)));
    }
}

TEST(infinite_values_of_masked_keys_are_multiplied_by_zero) {
  const float inf = std::numeric_limits<float>::infinity();
  for (const cpu::KernelTable* table : HostTables()) {
    Problem p = Make(1, 1, 2, 600, 4, 4, false, nullptr);
    std::vector<float> bias(600, 0.0f), v = p.v.Values<float>();
    for (int64_t t = 0; t < 512; ++t) bias[t] = -inf;  // all of the first chunk
    v[7 * 4 + 1] = inf;
    p.bias = Floats({1, 600}, bias), p.v = Floats({1, 1, 600, 4}, v);
    CheckAgainst(p, RunFused(*table, p, false, 1), false, table->isa);
  }
}

// [batch, sequence, width] as [sequence, batch, width].
HostTensor SequenceFirst(const HostTensor& x) {
  const int64_t batch = x.shape[0], sequence = x.shape[1], width = x.shape[2];
  std::vector<float> out(static_cast<size_t>(x.shape.Count()));
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t s = 0; s < sequence; ++s)
      for (int64_t i = 0; i < width; ++i)
        out[static_cast<size_t>((s * batch + b) * width + i)] = x.At<float>((b * sequence + s) * width + i);
  return Floats({sequence, batch, width}, out);
}

TEST(fused_attention_with_the_sequence_first_has_the_bits_of_the_batch_first) {
  for (const cpu::KernelTable* table : HostTables())
    for (int threads : {1, 2})
      for (const auto& [batch, queries, keys] :
           {std::array<int64_t, 3>{3, 7, 13}, {1, 70, 5}, {2, 40, 600}, {2, 0, 3}}) {
        const Shape bias{1, 4, queries, keys};
        const Problem p = Make(batch, 4, queries, keys, 8, 12, true, &bias);
        Problem turned = p;
        turned.q = SequenceFirst(p.q), turned.k = SequenceFirst(p.k), turned.v = SequenceFirst(p.v);
        const HostTensor y = OneOp("FusedAttention", {turned.q, turned.k, turned.v, p.bias},
                                   {{"num_heads", p.heads},
                                    {"scale", static_cast<float>(p.scale)},
                                    {"merge_heads", int64_t{1}},
                                    {"sequence_first", int64_t{1}}},
                                   1, "zig")
                                 .Run(*table, threads)[0];
        const HostTensor expected = SequenceFirst(RunFused(*table, p, true, threads));
        CHECK(y.shape == expected.shape, y.shape);
        for (int64_t i = 0; i < y.shape.Count(); ++i)
          CHECK(y.At<float>(i) == expected.At<float>(i), table->isa, " at ", i, " of ", y.shape);
      }
}

TEST(standard_attention_shares_keys_between_heads) {
  for (const cpu::KernelTable* table : HostTables())
    for (bool flat : {false, true}) {
      Problem p = Make(2, 6, 20, 33, 8, 12, flat, nullptr);
      const Problem keys = Make(2, 2, 20, 33, 8, 12, flat, nullptr);
      p.k = keys.k, p.v = keys.v, p.key_heads = 2;
      const HostTensor y =
          OneOp("Attention", {p.q, p.k, p.v}, {{"q_num_heads", int64_t{6}}, {"kv_num_heads", int64_t{2}}})
              .Run(*table, 2)[0];
      CheckAgainst(p, y, flat, table->isa);
    }
}

}  // namespace ziggurat::test
