#include <array>
#include <cmath>

#include "check.h"
#include "cpu/op_harness.h"
#include "tensor/half.h"

namespace ziggurat::test {
namespace {

// NumPy's matmul in float64, for ranks of 2 and more.
std::vector<double> Reference(const HostTensor& a, const HostTensor& b, const Shape& out) {
  const int64_t m = out[out.rank() - 2], n = out[out.rank() - 1], k = a.shape[a.shape.rank() - 1];
  std::vector<double> product(static_cast<size_t>(out.Count()));
  Shape lead = Shape(out.span().first(out.rank() - 2)), a_lead = Shape(a.shape.span().first(a.shape.rank() - 2)),
        b_lead = Shape(b.shape.span().first(b.shape.rank() - 2));
  for (int64_t batch = 0; batch < lead.Count(); ++batch) {
    const int64_t a0 = BroadcastIndex(batch, lead, a_lead) * m * k, b0 = BroadcastIndex(batch, lead, b_lead) * k * n;
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t kk = 0; kk < k; ++kk)
          sum += static_cast<double>(a.At<float>(a0 + i * k + kk)) * b.At<float>(b0 + kk * n + j);
        product[static_cast<size_t>((batch * m + i) * n + j)] = sum;
      }
  }
  return product;
}

void CheckClose(const HostTensor& got, const std::vector<double>& expected, double tolerance) {
  CHECK(static_cast<size_t>(got.shape.Count()) == expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    CHECK(std::fabs(got.At<float>(static_cast<int64_t>(i)) - expected[i]) <= tolerance, "at ", i, " got ",
          got.At<float>(static_cast<int64_t>(i)), " expected ", expected[i]);
}

}  // namespace

TEST(matmul_broadcasts_batches_with_constant_and_computed_operands) {
  struct Case {
    Shape a, b, out;
  };
  const Case cases[] = {{{3, 4}, {4, 5}, {3, 5}},
                        {{1, 300}, {300, 70}, {1, 70}},
                        {{40, 70}, {70, 33}, {40, 33}},
                        {{2, 3, 4}, {4, 5}, {2, 3, 5}},
                        {{2, 1, 3, 4}, {5, 4, 6}, {2, 5, 3, 6}},
                        {{12, 40, 64}, {12, 64, 40}, {12, 40, 40}},
                        {{3, 4}, {7, 4, 2}, {7, 3, 2}},
                        {{0, 4}, {4, 5}, {0, 5}},
                        {{2, 0}, {0, 3}, {2, 3}},
                        {{3, 2, 200, 130}, {1, 1, 130, 90}, {3, 2, 200, 90}}};
  for (const cpu::KernelTable* table : HostTables())
    for (const Case& c : cases)
      for (bool constant : {false, true})
        for (int threads : {1, 3}) {
          HostTensor a = RandomFloats(c.a, 1, -1, 1), b = RandomFloats(c.b, 2, -1, 1);
          b.constant = constant;
          const HostTensor y = OneOp("MatMul", {a, b}).Run(*table, threads)[0];
          CHECK(y.shape == c.out, y.shape);
          CheckClose(y, Reference(a, b, c.out), 1e-4);
        }
}

TEST(matmul_takes_vectors_as_rows_and_columns) {
  const cpu::KernelTable& table = *HostTables().back();
  const HostTensor v = Floats({3}, {1, 2, 3}), matrix = Floats({3, 2}, {1, 2, 3, 4, 5, 6});
  CHECK(OneOp("MatMul", {v, v}).Run(table)[0].At<float>(0) == 14);
  CHECK(OneOp("MatMul", {v, matrix}).Run(table)[0].Values<float>() == (std::vector<float>{22, 28}));
  const HostTensor wide = Floats({2, 3}, {1, 2, 3, 4, 5, 6});
  CHECK(OneOp("MatMul", {wide, v}).Run(table)[0].Values<float>() == (std::vector<float>{14, 32}));
}

TEST(matmul_rows_have_the_same_bits_whatever_the_batch_threads_and_packing) {
  for (const cpu::KernelTable* table : HostTables()) {
    const int64_t n = 150, k = 1300;
    HostTensor a = RandomFloats({180, k}, 3), b = RandomFloats({k, n}, 4);
    const std::vector<float> all = OneOp("MatMul", {a, b}).Run(*table, 1)[0].Values<float>();
    for (int threads : {2, 3}) CHECK(OneOp("MatMul", {a, b}).Run(*table, threads)[0].Values<float>() == all);
    b.constant = true;
    for (int threads : {1, 2}) CHECK(OneOp("MatMul", {a, b}).Run(*table, threads)[0].Values<float>() == all);
    for (int64_t row : {0, 77, 179}) {
      std::vector<float> values(static_cast<size_t>(k));
      std::memcpy(values.data(), a.bytes.data() + row * k * 4, values.size() * 4);
      for (bool constant : {false, true}) {
        b.constant = constant;
        const auto alone = OneOp("MatMul", {Floats({1, k}, values), b}).Run(*table, 2)[0].Values<float>();
        CHECK(std::memcmp(alone.data(), all.data() + row * n, alone.size() * 4) == 0, table->isa, " row ", row);
      }
    }
  }
}

TEST(gemm_scales_transposes_and_adds_c_of_every_shape) {
  for (const cpu::KernelTable* table : HostTables())
    for (int flags = 0; flags < 8; ++flags) {
      const bool ta = flags & 1, tb = flags & 2, constant = flags & 4;
      const int64_t m = 19, n = 35, k = 21;
      HostTensor a = RandomFloats(ta ? Shape{k, m} : Shape{m, k}, 5),
                 b = RandomFloats(tb ? Shape{n, k} : Shape{k, n}, 6);
      b.constant = constant;
      for (const Shape& shape : {Shape{}, Shape{1}, Shape{n}, Shape{1, n}, Shape{m, 1}, Shape{m, n}, Shape{1, 1}}) {
        const HostTensor c = RandomFloats(shape, 7);
        const HostTensor y = OneOp("Gemm", {a, b, c},
                                   {{"alpha", 0.5f}, {"beta", 2.0f}, {"transA", int64_t{ta}}, {"transB", int64_t{tb}}})
                                 .Run(*table, 2)[0];
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j) {
            double sum = 0;
            for (int64_t kk = 0; kk < k; ++kk)
              sum += static_cast<double>(a.At<float>(ta ? kk * m + i : i * k + kk)) *
                     b.At<float>(tb ? j * k + kk : kk * n + j);
            const double expected = 0.5 * sum + 2.0 * c.At<float>(BroadcastIndex(i * n + j, Shape{m, n}, shape));
            CHECK(std::fabs(y.At<float>(i * n + j) - expected) < 1e-4, "C ", shape, " flags ", flags);
          }
      }
      const HostTensor plain = OneOp("Gemm", {a, b}, {{"transA", int64_t{ta}}, {"transB", int64_t{tb}}}).Run(*table)[0];
      CHECK(std::isfinite(plain.At<float>(0)));
    }
}

TEST(fused_matmul_has_the_bits_of_separate_ops) {
  for (const cpu::KernelTable* table : HostTables()) {
    const HostTensor a = RandomFloats({2, 30, 50}, 8), residual = RandomFloats({2, 30, 70}, 10);
    HostTensor b = RandomFloats({50, 70}, 9);
    const HostTensor bias = RandomFloats({70}, 11);
    b.constant = true;
    HostTensor y = OneOp("MatMul", {a, b}).Run(*table)[0];
    y = OneOp("Add", {y, bias}).Run(*table)[0];
    y = OneOp("Add", {y, residual}).Run(*table)[0];
    y = OneOp("Gelu", {y}, {{"approximate", std::string("none")}}).Run(*table)[0];
    for (int threads : {1, 2}) {
      const HostTensor fused =
          OneOp("FusedMatMul", {a, b, bias, residual}, {{"activation", std::string("gelu_erf")}}, 1, "zig")
              .Run(*table, threads)[0];
      CHECK(fused.bytes == y.bytes, table->isa);
    }
  }
}

TEST(matmul_of_half_types_computes_in_float32_and_rounds_once) {
  for (const cpu::KernelTable* table : HostTables())
    for (DType dtype : {DType::kFloat16, DType::kBFloat16})
      for (bool constant : {false, true}) {
        const int64_t m = 20, n = 40, k = 65;
        std::vector<uint16_t> a(m * k), b(k * n);
        Random random(12);
        const auto narrow = [&](float v) { return dtype == DType::kFloat16 ? FloatToFloat16(v) : FloatToBFloat16(v); };
        const auto widen = [&](uint16_t v) {
          return dtype == DType::kFloat16 ? Float16ToFloat(v) : BFloat16ToFloat(v);
        };
        std::vector<float> a32(a.size()), b32(b.size());
        for (size_t i = 0; i < a.size(); ++i) a[i] = narrow(random.Uniform(-1, 1)), a32[i] = widen(a[i]);
        for (size_t i = 0; i < b.size(); ++i) b[i] = narrow(random.Uniform(-1, 1)), b32[i] = widen(b[i]);
        const HostTensor y =
            OneOp("MatMul", {Tensor(dtype, {m, k}, a), Tensor(dtype, {k, n}, b, constant)}).Run(*table, 2)[0];
        const HostTensor wide = OneOp("MatMul", {Floats({m, k}, a32), Floats({k, n}, b32)}).Run(*table)[0];
        for (int64_t i = 0; i < m * n; ++i) CHECK(y.At<uint16_t>(i) == narrow(wide.At<float>(i)), Name(dtype));
      }
}

TEST(matmul_of_float64_sums_as_float32_does_and_integers_wrap_around) {
  for (const cpu::KernelTable* table : HostTables()) {
    const Shape a_shape{2, 9, 300}, b_shape{300, 21};
    std::vector<double> a(static_cast<size_t>(a_shape.Count())), b(static_cast<size_t>(b_shape.Count()));
    Random random(13);
    for (double& v : a) v = random.Uniform(-1, 1);
    for (double& v : b) v = random.Uniform(-1, 1);
    const HostTensor y =
        OneOp("MatMul", {Tensor(DType::kFloat64, a_shape, a), Tensor(DType::kFloat64, b_shape, b)}).Run(*table, 2)[0];
    std::vector<int64_t> ai(a.size()), bi(b.size());
    for (size_t i = 0; i < a.size(); ++i) ai[i] = static_cast<int64_t>(a[i] * 9e18);
    for (size_t i = 0; i < b.size(); ++i) bi[i] = static_cast<int64_t>(b[i] * 9e18);
    const HostTensor yi =
        OneOp("MatMul", {Tensor(DType::kInt64, a_shape, ai), Tensor(DType::kInt64, b_shape, bi)}).Run(*table, 2)[0];
    for (int64_t i = 0; i < 18; ++i)
      for (int64_t j = 0; j < 21; ++j) {
        double total = 0;
        uint64_t wrapped = 0;
        for (int64_t k0 = 0; k0 < 300; k0 += 128) {
          double sum = 0;
          for (int64_t k = k0; k < std::min<int64_t>(300, k0 + 128); ++k) {
            volatile double product = a[i * 300 + k] * b[k * 21 + j];
            sum = sum + product;
            wrapped += static_cast<uint64_t>(ai[i * 300 + k]) * static_cast<uint64_t>(bi[k * 21 + j]);
          }
          total = k0 ? total + sum : sum;
        }
        CHECK(y.At<double>(i * 21 + j) == total, table->isa, " ", i, ",", j);
        CHECK(yi.At<uint64_t>(i * 21 + j) == wrapped);
      }
    const HostTensor small = OneOp("MatMul", {Tensor<int32_t>(DType::kInt32, {1, 2}, {3, -4}),
                                              Tensor<int32_t>(DType::kInt32, {2, 1}, {5, 6})})
                                 .Run(*table)[0];
    CHECK(small.At<int32_t>(0) == -9);
  }
}

TEST(matmul_integer_is_exact_for_all_signs_zero_points_and_tails) {
  Random random(14);
  const auto bytes = [&](int64_t count) {
    std::vector<uint8_t> values(static_cast<size_t>(count));
    for (uint8_t& v : values) v = static_cast<uint8_t>(random.Uniform(0, 255.9f));
    return values;
  };
  const auto value = [](DType dtype, uint8_t v) { return dtype == DType::kInt8 ? static_cast<int8_t>(v) : int32_t{v}; };
  for (const cpu::KernelTable* table : HostTables())
    for (DType a_type : {DType::kUint8, DType::kInt8})
      for (DType b_type : {DType::kUint8, DType::kInt8})
        for (int zeros = 0; zeros < 3; ++zeros)
          for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {3, 33, 5}, {29, 70, 131}, {130, 40, 1100}}) {
            // Extremes too: pairs of 255 * -128 are what saturating instructions get wrong.
            std::vector<uint8_t> a = bytes(m * k), b = bytes(k * n), za = bytes(1), zb = bytes(zeros == 2 ? n : 1);
            std::fill_n(a.begin(), k, uint8_t{255});
            for (int64_t kk = 0; kk < k; ++kk) b[static_cast<size_t>(kk * n)] = b_type == DType::kInt8 ? 128 : 255;
            std::vector<HostTensor> inputs = {Tensor(a_type, {m, k}, a), Tensor(b_type, {k, n}, b, m != 29)};
            if (zeros) inputs.push_back(Tensor(a_type, Shape{}, za));
            if (zeros) inputs.push_back(Tensor(b_type, zeros == 2 ? Shape{n} : Shape{}, zb));
            const HostTensor y = OneOp("MatMulInteger", inputs).Run(*table, 2)[0];
            for (int64_t i = 0; i < m; ++i)
              for (int64_t j = 0; j < n; ++j) {
                int32_t expected = 0;
                for (int64_t kk = 0; kk < k; ++kk)
                  expected += (value(a_type, a[static_cast<size_t>(i * k + kk)]) - (zeros ? value(a_type, za[0]) : 0)) *
                              (value(b_type, b[static_cast<size_t>(kk * n + j)]) -
                               (zeros ? value(b_type, zb[static_cast<size_t>(zeros == 2 ? j : 0)]) : 0));
                CHECK(y.At<int32_t>(i * n + j) == expected, table->isa, " m ", m, " n ", n, " k ", k, " at ", i, ",",
                      j);
              }
          }
}

}  // namespace ziggurat::test
