// Running sums and products along an axis, and row functions of an axis: Softmax, LogSoftmax, Hardmax, LpNormalization.
#include <cmath>
#include <limits>

#include "device/reference/plain.h"
#include "device/reference/walk.h"

namespace ziggurat::plain {
namespace {

template <bool kProduct>
void Cumulate(const Args& args) {
  const TensorView& in = args.In(0);
  const AxisView view(in.shape, Axis(args.IntIn(1, 0), in.shape.rank()));
  const bool exclusive = args.Int("exclusive", 0) != 0, reverse = args.Int("reverse", 0) != 0;
  WithRealType(in.dtype, [&](auto zero) {
    using C = decltype(zero);
    std::vector<C> x = LoadAll<C>(in);
    for (int64_t o = 0; o < view.outer; ++o) {
      for (int64_t i = 0; i < view.inner; ++i) {
        C total = kProduct ? C{1} : C{0};
        for (int64_t k = 0; k < view.size; ++k) {
          C& cell = x[static_cast<size_t>((o * view.size + (reverse ? view.size - 1 - k : k)) * view.inner + i)];
          const C before = total;
          total = kProduct ? WrapMul(total, cell) : WrapAdd(total, cell);
          cell = exclusive ? before : total;
        }
      }
    }
    StoreAll<C>(args.Out(0), x);
  });
}

// Calls fn(row) for each line along the axis, a vector that it changes in place.
void ForRows(const Args& args, int64_t default_axis, FunctionRef<void(std::vector<double>&)> fn) {
  const TensorView& in = args.In(0);
  std::vector<double> x = LoadAll<double>(in);
  if (in.shape.rank() == 0) {
    fn(x);
    return StoreAll<double>(args.Out(0), x);
  }
  const AxisView view(in.shape, Axis(args.Int("axis", default_axis), in.shape.rank()));
  std::vector<double> row(static_cast<size_t>(view.size));
  for (int64_t o = 0; o < view.outer && view.size > 0; ++o) {
    for (int64_t i = 0; i < view.inner; ++i) {
      double* cell = x.data() + o * view.size * view.inner + i;
      for (int64_t k = 0; k < view.size; ++k) row[k] = cell[k * view.inner];
      fn(row);
      for (int64_t k = 0; k < view.size; ++k) cell[k * view.inner] = row[k];
    }
  }
  StoreAll<double>(args.Out(0), x);
}

double Largest(const std::vector<double>& row) {
  double largest = -std::numeric_limits<double>::infinity();
  for (double x : row) largest = x > largest || x != x ? x : largest;
  return largest;
}

void Softmax(const Args& args) {
  ForRows(args, -1, [](std::vector<double>& row) {
    const double largest = Largest(row);
    double sum = 0;
    for (double& x : row) sum += x = std::exp(x - largest);
    for (double& x : row) x /= sum;
  });
}

void LogSoftmax(const Args& args) {
  ForRows(args, -1, [](std::vector<double>& row) {
    const double largest = Largest(row);
    double sum = 0;
    for (double x : row) sum += std::exp(x - largest);
    const double log_sum = std::log(sum);
    for (double& x : row) x = x - largest - log_sum;
  });
}

void Hardmax(const Args& args) {
  ForRows(args, -1, [](std::vector<double>& row) {
    size_t best = 0;
    for (size_t k = 1; k < row.size(); ++k)
      if (row[k] > row[best]) best = k;
    for (size_t k = 0; k < row.size(); ++k) row[k] = k == best;
  });
}

void LpNormalization(const Args& args) {
  const int64_t p = args.Int("p", 2);
  ForRows(args, -1, [p](std::vector<double>& row) {
    double norm = 0;
    for (double x : row) norm += p == 1 ? std::abs(x) : x * x;
    if (p != 1) norm = std::sqrt(norm);
    for (double& x : row) x = norm == 0 ? 0 : x / norm;
  });
}

constexpr PlainOp kOps[] = {
    {"CumSum", Cumulate<false>}, {"CumProd", Cumulate<true>}, {"Softmax", Softmax},
    {"LogSoftmax", LogSoftmax},  {"Hardmax", Hardmax},        {"LpNormalization", LpNormalization},
};

}  // namespace

std::span<const PlainOp> ScanOps() { return kOps; }

}  // namespace ziggurat::plain
