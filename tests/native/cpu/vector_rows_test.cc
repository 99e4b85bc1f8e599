// Softmax, normalisations and reductions against float64, over row lengths around every register and chain boundary.
#include "cpu/vector_isas.h"

namespace ziggurat::test {
namespace {

using cpu::ReduceOp;

std::vector<float> RandomRow(int64_t n, uint64_t seed, float lo = -3, float hi = 3) {
  Random random(seed);
  std::vector<float> x(n);
  for (float& value : x) value = random.Uniform(lo, hi);
  return x;
}

std::vector<int64_t> Lengths() {
  std::vector<int64_t> lengths;
  for (int64_t n = 1; n <= 35; ++n) lengths.push_back(n);
  for (int64_t n : {63, 64, 65, 127, 129, 384, 1000, 4099}) lengths.push_back(n);
  return lengths;
}

TEST(softmax_rows_agree_with_float64) {
  for (const Isa& isa : RunnableIsas())
    for (int64_t n : Lengths()) {
      const int64_t rows = 3;
      const std::vector<float> x = RandomRow(rows * n + 1, n, -20, 20);
      std::vector<float> y(rows * n + 2, -9.0f), z(rows * n + 1, -9.0f);
      isa.kernels->rows.softmax(x.data() + 1, y.data() + 1, rows, n);
      isa.kernels->rows.log_softmax(x.data() + 1, z.data() + 1, rows, n);
      CHECK(y.front() == -9.0f && y.back() == -9.0f, isa.name, " wrote outside for n ", n);
      for (int64_t r = 0; r < rows; ++r) {
        const float* row = x.data() + 1 + r * n;
        double max = -INFINITY, sum = 0;
        for (int64_t i = 0; i < n; ++i) max = std::max<double>(max, row[i]);
        for (int64_t i = 0; i < n; ++i) sum += std::exp(row[i] - max);
        for (int64_t i = 0; i < n; ++i) {
          const double exact = std::exp(row[i] - max) / sum;
          // x - max of up to 40 is rounded by up to 2e-6, which e^ turns into a relative error.
          CHECK(std::fabs(y[1 + r * n + i] - exact) <= 4e-6 * exact + 1e-44, isa.name, " n ", n, " i ", i);
          const double log_exact = row[i] - max - std::log(sum);
          CHECK(std::fabs(z[1 + r * n + i] - log_exact) <= 6e-6, isa.name, " log, n ", n, " i ", i);
        }
      }
    }
}

TEST(softmax_of_a_row_with_nan_is_nan_and_masked_entries_are_zero) {
  for (const Isa& isa : RunnableIsas()) {
    std::vector<float> x = RandomRow(40, 1), y(40);
    x[3] = -INFINITY;
    isa.kernels->rows.softmax(x.data(), y.data(), 1, 40);
    CHECK(y[3] == 0 && y[2] > 0, isa.name);
    x[37] = NAN;
    isa.kernels->rows.softmax(x.data(), y.data(), 1, 40);
    for (float value : y) CHECK(std::isnan(value), isa.name);
  }
}

TEST(softmax_columns_agree_with_rows) {
  for (const Isa& isa : RunnableIsas())
    for (int64_t columns : {1, 5, 16, 17, 70})
      for (bool log : {false, true}) {
        const int64_t n = 37, stride = columns + 3;
        const std::vector<float> x = RandomRow(n * stride, columns);
        std::vector<float> y(n * stride, -9.0f), row(n), expected(n);
        (log ? isa.kernels->rows.log_softmax_columns : isa.kernels->rows.softmax_columns)(x.data(), y.data(), n, stride,
                                                                                          columns);
        for (int64_t c = 0; c < stride; ++c) {
          for (int64_t k = 0; k < n; ++k) row[k] = x[k * stride + c];
          (log ? isa.kernels->rows.log_softmax : isa.kernels->rows.softmax)(row.data(), expected.data(), 1, n);
          for (int64_t k = 0; k < n; ++k) {
            const float want = c < columns ? expected[k] : -9.0f;
            CHECK(std::fabs(y[k * stride + c] - want) <= 2e-6f * std::fabs(want), isa.name, " column ", c, " of ",
                  columns);
          }
        }
      }
}

TEST(layer_and_rms_norm_agree_with_float64) {
  for (const Isa& isa : RunnableIsas())
    for (int64_t n : Lengths()) {
      const int64_t rows = 2;
      const std::vector<float> x = RandomRow(rows * n, n, -1, 5), residual = RandomRow(rows * n, n + 7);
      const std::vector<float> scale = RandomRow(n, 2), bias = RandomRow(n, 3);
      for (bool centred : {true, false})
        for (bool with_residual : {true, false}) {
          std::vector<float> y(rows * n), sum(rows * n), mean(rows), inv(rows);
          const cpu::NormArgs args{x.data(),
                                   with_residual ? residual.data() : nullptr,
                                   with_residual ? sum.data() : nullptr,
                                   y.data(),
                                   scale.data(),
                                   bias.data(),
                                   mean.data(),
                                   inv.data(),
                                   rows,
                                   n,
                                   1e-5f};
          (centred ? isa.kernels->rows.layer_norm : isa.kernels->rows.rms_norm)(args);
          for (int64_t r = 0; r < rows; ++r) {
            std::vector<double> v(n);
            double m = 0, variance = 0;
            for (int64_t i = 0; i < n; ++i) {
              v[i] = with_residual ? x[r * n + i] + residual[r * n + i] : x[r * n + i];
              if (with_residual) CHECK(sum[r * n + i] == static_cast<float>(v[i]), isa.name);
              m += v[i] / static_cast<double>(n);
            }
            if (!centred) m = 0;
            for (double value : v) variance += (value - m) * (value - m) / static_cast<double>(n);
            const double std = std::sqrt(variance + 1e-5);
            CHECK(std::fabs(mean[r] - m) < 1e-5 && std::fabs(inv[r] * std - 1) < 1e-4, isa.name, " n ", n);
            // A row of one element is all cancellation: its error is that of the mean over sqrt(epsilon).
            for (int64_t i = 0; i < n; ++i) {
              const double exact = (v[i] - m) / std * scale[i] + bias[i];
              CHECK(std::fabs(y[r * n + i] - exact) <= (n == 1 ? 1e-3 : 2e-5), isa.name, " n ", n, " i ", i);
            }
          }
        }
    }
}

double Exact(ReduceOp op, const std::vector<float>& x) {
  double y = op == ReduceOp::kProd ? 1 : op == ReduceOp::kMax ? -INFINITY : op == ReduceOp::kMin ? INFINITY : 0;
  for (double v : x) {
    if (op == ReduceOp::kSum) y += v;
    if (op == ReduceOp::kProd) y *= v;
    if (op == ReduceOp::kMax) y = std::max(y, v);
    if (op == ReduceOp::kMin) y = std::min(y, v);
    if (op == ReduceOp::kSumAbs) y += std::fabs(v);
    if (op == ReduceOp::kSumSquare) y += v * v;
  }
  return y;
}

constexpr ReduceOp kReduceOps[] = {ReduceOp::kSum, ReduceOp::kProd,   ReduceOp::kMax,
                                   ReduceOp::kMin, ReduceOp::kSumAbs, ReduceOp::kSumSquare};

TEST(reductions_agree_with_float64_along_rows_and_columns) {
  for (const Isa& isa : RunnableIsas())
    for (int64_t n : Lengths())
      for (ReduceOp op : kReduceOps) {
        const bool product = op == ReduceOp::kProd;
        const int64_t columns = n % 71 + 1;
        const std::vector<float> x = RandomRow(n * columns, n, product ? 0.9f : -2, product ? 1.1f : 3);
        std::vector<float> sums(columns + 1, -9.0f);
        isa.kernels->rows.reduce_columns(op, x.data(), sums.data(), n, columns, columns);
        CHECK(sums[columns] == -9.0f, isa.name);
        for (int64_t c = 0; c < columns; ++c) {
          std::vector<float> column(n);
          for (int64_t k = 0; k < n; ++k) column[k] = x[k * columns + c];
          const double exact = Exact(op, column);
          const float along = isa.kernels->rows.reduce(op, column.data(), n);
          const double bound = 2e-6 * std::fabs(exact) + 3e-7 * std::sqrt(static_cast<double>(n));
          CHECK(std::fabs(along - exact) <= bound * (product ? 30 : 1), isa.name, " row, op ", int(op), " n ", n);
          CHECK(std::fabs(sums[c] - exact) <= bound * (product ? 30 : 1), isa.name, " column, op ", int(op), " n ", n);
        }
      }
}

TEST(max_and_min_hand_on_nan) {
  for (const Isa& isa : RunnableIsas())
    for (int64_t n : {1, 7, 16, 33, 200})
      for (int64_t at = 0; at < n; ++at) {
        std::vector<float> x = RandomRow(n, 5), y(n);
        x[at] = NAN;
        CHECK(std::isnan(isa.kernels->rows.reduce(ReduceOp::kMax, x.data(), n)), isa.name);
        CHECK(std::isnan(isa.kernels->rows.reduce(ReduceOp::kMin, x.data(), n)), isa.name);
        isa.kernels->rows.reduce_columns(ReduceOp::kMax, x.data(), y.data(), n, 1, 1);
        CHECK(std::isnan(y[0]), isa.name);
      }
}

// A row's result may not depend on where it lies, nor a column's on its neighbours.
TEST(a_row_has_the_same_bits_wherever_it_lies) {
  for (const Isa& isa : RunnableIsas())
    for (int64_t n : {5, 64, 77, 301}) {
      const std::vector<float> row = RandomRow(n, 11);
      const uint32_t sum = Bits(isa.kernels->rows.reduce(ReduceOp::kSum, row.data(), n));
      std::vector<float> moved(n + 16), matrix(n * 70), sums(70);
      for (int64_t offset = 0; offset < 16; ++offset) {
        std::copy(row.begin(), row.end(), moved.begin() + offset);
        CHECK(Bits(isa.kernels->rows.reduce(ReduceOp::kSum, moved.data() + offset, n)) == sum, isa.name);
      }
      for (int64_t k = 0; k < n; ++k)
        for (int64_t c = 0; c < 70; ++c) matrix[k * 70 + c] = row[k];
      isa.kernels->rows.reduce_columns(ReduceOp::kSum, matrix.data(), sums.data(), n, 70, 70);
      for (float value : sums) CHECK(Bits(value) == Bits(sums[0]), isa.name);
    }
}

TEST(log_sum_exp_survives_infinities_and_large_values) {
  for (const Isa& isa : RunnableIsas()) {
    const std::vector<float> large(100, 500.0f), none(5, -INFINITY);
    CHECK(std::fabs(isa.kernels->rows.log_sum_exp(large.data(), 100) - (500 + std::log(100.0))) < 1e-4, isa.name);
    CHECK(isa.kernels->rows.log_sum_exp(none.data(), 5) == -INFINITY, isa.name);
  }
}

TEST(lrn_agrees_with_float64) {
  for (const Isa& isa : RunnableIsas())
    for (int64_t columns : {1, 9, 16, 50})
      for (int64_t size : {1, 2, 5, 30}) {
        const int64_t channels = 11;
        const std::vector<float> x = RandomRow(channels * columns, size);
        std::vector<float> y(x.size());
        isa.kernels->rows.lrn({x.data(), y.data(), channels, columns, 0, columns, size, 0.1f, 0.75f, 1.5f});
        for (int64_t c = 0; c < channels; ++c)
          for (int64_t i = 0; i < columns; ++i) {
            double squares = 0;
            for (int64_t k = 0; k < channels; ++k)
              if (k >= c - (size - 1) / 2 && k <= c + size / 2) squares += x[k * columns + i] * x[k * columns + i];
            const double exact = x[c * columns + i] / std::pow(1.5 + 0.1 / double(size) * squares, 0.75);
            CHECK(std::fabs(y[c * columns + i] - exact) <= 2e-6, isa.name, " size ", size, " c ", c);
          }
      }
}

}  // namespace
}  // namespace ziggurat::test
