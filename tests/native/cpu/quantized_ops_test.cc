// zig.QuantizedMatMul, QLinearMatMul and QuantizeLinear against the definition, on every instruction set.
#include <cmath>

#include "check.h"
#include "cpu/op_harness.h"

namespace ziggurat::test {
namespace {

HostTensor RandomBytes(DType dtype, const Shape& shape, uint64_t seed) {
  Random random(seed);
  std::vector<uint8_t> values(static_cast<size_t>(shape.Count()));
  for (uint8_t& value : values) value = static_cast<uint8_t>(random.Next());
  return Tensor(dtype, shape, values);
}
HostTensor Constant(HostTensor tensor) {
  tensor.constant = true;
  return tensor;
}
int ByteAt(const HostTensor& x, int64_t i) { return x.dtype == DType::kInt8 ? x.At<int8_t>(i) : x.At<uint8_t>(i); }

struct Problem {
  HostTensor a, a_scale, a_zero, b, b_scale, b_zero, bias;
};

Problem Make(int64_t m, int64_t n, int64_t k, DType a, DType b, bool per_column, bool bias) {
  const Shape columns = per_column ? Shape{n} : Shape{};
  return {RandomBytes(a, {m, k}, 1),
          Constant(RandomFloats({}, 2, 0.01f, 0.02f)),
          RandomBytes(a, {}, 3),
          Constant(RandomBytes(b, {k, n}, 4)),
          Constant(RandomFloats(columns, 5, 0.01f, 0.02f)),
          RandomBytes(b, columns, 6),
          bias ? RandomFloats({n}, 7) : Absent()};
}

// The exact sum times the scales, in float64.
double Expected(const Problem& p, int64_t i, int64_t j) {
  const int64_t k = p.a.shape[1], n = p.b.shape[1], column = p.b_scale.shape.rank() ? j : 0;
  int64_t sum = 0;
  for (int64_t kk = 0; kk < k; ++kk)
    sum +=
        int64_t{ByteAt(p.a, i * k + kk) - ByteAt(p.a_zero, 0)} * (ByteAt(p.b, kk * n + j) - ByteAt(p.b_zero, column));
  const double y = static_cast<double>(sum) * p.a_scale.At<float>(0) * p.b_scale.At<float>(column);
  return p.bias.absent ? y : y + p.bias.At<float>(j);
}

HostTensor RunProduct(const cpu::KernelTable& table, const Problem& p, const HostTensor& y_scale,
                      const HostTensor& y_zero, int threads) {
  return OneOp("QuantizedMatMul", {p.a, p.a_scale, p.a_zero, p.b, p.b_scale, p.b_zero, y_scale, y_zero, p.bias}, {}, 1,
               "zig")
      .Run(table, threads)[0];
}

}  // namespace

TEST(quantized_matmul_is_the_scaled_exact_sum) {
  for (const cpu::KernelTable* table : HostTables())
    for (auto [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {3, 33, 5}, {17, 70, 131}, {40, 129, 600}, {0, 4, 3}})
      for (int form = 0; form < 16; ++form) {
        const Problem p = Make(m, n, k, form & 1 ? DType::kInt8 : DType::kUint8,
                               form & 2 ? DType::kInt8 : DType::kUint8, form & 4, form & 8);
        const HostTensor y = RunProduct(*table, p, Absent(), Absent(), 2);
        CHECK(y.dtype == DType::kFloat32 && y.shape == (Shape{m, n}));
        for (int64_t i = 0; i < m * n; ++i) {
          const double expected = Expected(p, i / n, i % n);
          CHECK(std::fabs(y.At<float>(i) - expected) <= 1e-6 * (3 + std::fabs(expected)), table->isa, " form ", form,
                " at ", i, " got ", y.At<float>(i), " expected ", expected);
        }
      }
}

TEST(quantized_matmul_rounds_as_quantize_linear_does) {
  for (const cpu::KernelTable* table : HostTables())
    for (DType dtype : {DType::kUint8, DType::kInt8})
      for (int threads : {1, 3}) {
        const Problem p = Make(45, 75, 260, DType::kUint8, DType::kInt8, true, true);
        const HostTensor scale = Constant(Floats({}, {0.9f})), zero = RandomBytes(dtype, {}, 9);
        const HostTensor y = RunProduct(*table, p, scale, zero, threads);
        HostTensor plain = RunProduct(*table, p, Absent(), Absent(), 1);
        const HostTensor rounded = OneOp("QuantizeLinear", {plain, scale, zero}).Run(*table)[0];
        CHECK(y.dtype == dtype && y.bytes == rounded.bytes, table->isa);
      }
}

TEST(qlinear_matmul_with_known_scales_gives_the_same) {
  for (const cpu::KernelTable* table : HostTables()) {
    Problem p = Make(20, 40, 64, DType::kUint8, DType::kInt8, false, false);
    const HostTensor scale = Constant(Floats({}, {0.7f})), zero = RandomBytes(DType::kUint8, {}, 9);
    const HostTensor y = RunProduct(*table, p, scale, zero, 1);
    const HostTensor standard =
        OneOp("QLinearMatMul", {p.a, p.a_scale, p.a_zero, p.b, p.b_scale, p.b_zero, scale, zero}).Run(*table, 2)[0];
    CHECK(standard.bytes == y.bytes, table->isa);
  }
}

TEST(quantize_linear_rounds_ties_to_even_and_keeps_the_range) {
  const float inf = INFINITY;
  const std::vector<float> x = {0, 1, 3, 5, -1, -3, 1000, -1000, 253.9f, inf, -inf, NAN, 2.0001f, 0.9999f, -5, 7, 9};
  const std::vector<int> rounded = {0, 0, 2, 2, 0, -2, 500, -500, 127, 100000, -100000, 0, 1, 0, -2, 4, 4};
  for (const cpu::KernelTable* table : HostTables())
    for (DType dtype : {DType::kUint8, DType::kInt8}) {
      const int least = dtype == DType::kInt8 ? -128 : 0, most = least + 255, point = least + 3;
      const HostTensor zero = Tensor(dtype, Shape{}, std::vector<uint8_t>{static_cast<uint8_t>(point)});
      const HostTensor y = OneOp("QuantizeLinear", {Floats({17}, x), Floats({}, {2.0f}), zero}).Run(*table)[0];
      for (size_t i = 0; i < x.size(); ++i) {
        const int expected = std::isnan(x[i]) ? 0 : std::clamp(rounded[i] + point, least, most);
        CHECK(ByteAt(y, static_cast<int64_t>(i)) == expected, table->isa, " ", x[i], " gave ",
              ByteAt(y, static_cast<int64_t>(i)));
      }
    }
}

}  // namespace ziggurat::test
