// The elementary functions against float64, on every instruction set, over all of float32: a step through the bit
// patterns that meets every exponent some thousand times, plus the values at which formulas change.
#include "cpu/vector_isas.h"

namespace ziggurat::test {
namespace {

using cpu::UnaryOp;

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

const std::vector<float>& Samples() {
  static const std::vector<float> samples = [] {
    std::vector<float> x = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1.0f, -1.0f, 0x1p-149f, -0x1p-149f, 0x1p-126f};
    for (float edge : {0.92f, 4.0f, 10.0f, 20.0f, 88.72f, -87.3f, -103.9f, 8192.0f, 0.70710678f, 1.41421356f})
      for (int step = -8; step <= 8; ++step) {
        x.push_back(FromBits(Bits(edge) + step));
        x.push_back(-x.back());
      }
    for (uint64_t bits = 0; bits < 0x100000000u; bits += 2203) x.push_back(FromBits(static_cast<uint32_t>(bits)));
    Random random(1);
    for (int i = 0; i < 200000; ++i) x.push_back(random.Uniform(-12, 12));
    for (int i = 0; i < 100000; ++i) x.push_back(random.Uniform(-110, 95));
    return x;
  }();
  return samples;
}

// Largest error, in units in the last place, over the samples that `domain` admits.
double WorstError(const Isa& isa, UnaryOp op, double (*exact)(double), bool (*domain)(float), float* where) {
  const std::vector<float>& x = Samples();
  std::vector<float> y(x.size());
  isa.kernels->elementwise.unary(op)(x.data(), y.data(), static_cast<int64_t>(x.size()), {});
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!domain(x[i])) continue;
    const double error = UlpError(y[i], exact(x[i]));
    if (error > worst) worst = error, *where = x[i];
  }
  return worst;
}

bool Everywhere(float) { return true; }

void CheckOp(const char* name, UnaryOp op, double (*exact)(double), double limit, bool (*domain)(float) = Everywhere) {
  for (const Isa& isa : RunnableIsas()) {
    float where = 0;
    const double worst = WorstError(isa, op, exact, domain, &where);
    CHECK(worst <= limit, isa.name, " ", name, ": ", worst, " ulp at ", where);
  }
}

TEST(exp_is_within_its_bound_of_float64) { CheckOp("exp", UnaryOp::kExp, std::exp, 1.5); }
TEST(log_is_within_its_bound_of_float64) { CheckOp("log", UnaryOp::kLog, std::log, 1.5); }
TEST(tanh_is_within_its_bound_of_float64) { CheckOp("tanh", UnaryOp::kTanh, std::tanh, 2.5); }
TEST(erf_is_within_its_bound_of_float64) { CheckOp("erf", UnaryOp::kErf, std::erf, 2); }
TEST(sigmoid_is_within_its_bound_of_float64) { CheckOp("sigmoid", UnaryOp::kSigmoid, Sigmoid, 3); }
TEST(sin_is_within_its_bound_of_float64) { CheckOp("sin", UnaryOp::kSin, std::sin, 3); }
TEST(cos_is_within_its_bound_of_float64) { CheckOp("cos", UnaryOp::kCos, std::cos, 3); }
TEST(tan_is_within_its_bound_of_float64) { CheckOp("tan", UnaryOp::kTan, std::tan, 1); }
TEST(atan_is_within_its_bound_of_float64) { CheckOp("atan", UnaryOp::kAtan, std::atan, 1); }
TEST(asinh_is_within_its_bound_of_float64) { CheckOp("asinh", UnaryOp::kAsinh, std::asinh, 1); }
TEST(softplus_is_within_its_bound_of_float64) {
  CheckOp("softplus", UnaryOp::kSoftplus, [](double x) { return x > 40 ? x : std::log1p(std::exp(x)); }, 4);
}
TEST(elu_near_zero_does_not_cancel) {
  for (const Isa& isa : RunnableIsas()) {
    const std::vector<float>& x = Samples();
    std::vector<float> y(x.size());
    isa.kernels->elementwise.unary(UnaryOp::kElu)(x.data(), y.data(), static_cast<int64_t>(x.size()), {1.0f, 0.0f});
    for (size_t i = 0; i < x.size(); ++i)
      CHECK(UlpError(y[i], x[i] < 0 ? std::expm1(static_cast<double>(x[i])) : x[i]) <= 2.5, isa.name, " at ", x[i]);
  }
}

// GELU cancels in its left tail: what is bounded there is the error against the size of x.
TEST(gelu_and_silu_and_mish_are_close_to_float64) {
  struct Case {
    const char* name;
    UnaryOp op;
    double (*exact)(double);
  };
  const Case cases[] = {
      {"gelu", UnaryOp::kGelu, [](double x) { return 0.5 * x * std::erfc(-x * M_SQRT1_2); }},
      {"gelu tanh", UnaryOp::kGeluTanh,
       [](double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }},
      {"silu", UnaryOp::kSilu, [](double x) { return x * Sigmoid(x); }},
      {"mish", UnaryOp::kMish, [](double x) { return x * std::tanh(x > 40 ? x : std::log1p(std::exp(x))); }},
  };
  for (const Isa& isa : RunnableIsas())
    for (const Case& test : cases) {
      const std::vector<float>& x = Samples();
      std::vector<float> y(x.size());
      isa.kernels->elementwise.unary(test.op)(x.data(), y.data(), static_cast<int64_t>(x.size()), {});
      for (size_t i = 0; i < x.size(); ++i) {
        if (std::isinf(x[i]) && x[i] < 0) {
          CHECK(y[i] == 0, isa.name, " ", test.name, " of -inf: ", y[i]);
          continue;
        }
        const double exact = test.exact(x[i]);
        CHECK(std::isnan(exact) == std::isnan(y[i]), isa.name, " ", test.name, " at ", x[i]);
        if (!std::isfinite(exact)) continue;
        const double bound = 3e-7 * std::fmin(std::fabs(x[i]), 8.0) + 3e-7 * std::fabs(exact) + 1e-44;
        CHECK(std::fabs(y[i] - exact) <= bound, isa.name, " ", test.name, " at ", x[i], ": ", y[i], " for ", exact);
      }
    }
}

// Every op, including those without a polynomial, at every lane offset and from misaligned memory: same bits.
TEST(an_element_has_the_same_bits_at_every_position) {
  const UnaryOp ops[] = {
#define X(name) UnaryOp::k##name,
      ZIGGURAT_UNARY_OPS(X)
#undef X
  };
  std::vector<float> x(67);
  Random random(3);
  for (float& value : x) value = random.Uniform(-4, 4);
  x[5] = NAN, x[17] = INFINITY, x[40] = -INFINITY, x[41] = 0x1p-140f, x[42] = -0.0f, x[43] = 1e6f;
  const cpu::ElementParams params{0.3f, 1.7f};
  for (const Isa& isa : RunnableIsas())
    for (UnaryOp op : ops) {
      const cpu::UnaryFn run = isa.kernels->elementwise.unary(op);
      std::vector<float> alone(x.size());
      for (size_t i = 0; i < x.size(); ++i) run(&x[i], &alone[i], 1, params);
      for (int64_t n = 0; n <= 33; ++n)
        for (int64_t offset : {0, 1, 7, 30}) {
          std::vector<float> y(x.size(), -77.0f);
          run(x.data() + offset, y.data() + offset, n, params);
          for (size_t i = 0; i < y.size(); ++i) {
            const bool inside = static_cast<int64_t>(i) >= offset && static_cast<int64_t>(i) < offset + n;
            CHECK(Bits(y[i]) == (inside ? Bits(alone[i]) : Bits(-77.0f)), isa.name, " op ", int(op), " n ", n, " x ",
                  x[i]);
          }
        }
    }
}

}  // namespace
}  // namespace ziggurat::test
