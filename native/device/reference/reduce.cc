// Reductions and arg-reductions. Elements are accumulated one by one in ascending order.
#include <cmath>
#include <limits>

#include "device/reference/plain.h"
#include "device/reference/walk.h"

namespace ziggurat::plain {
namespace {

enum class Kind { kSum, kMean, kProd, kMax, kMin, kL1, kL2, kSumSquare, kLogSum, kLogSumExp };

// The lowest or highest element of a dtype, in its compute type.
template <typename C>
C Extreme(DType dtype, bool highest) {
  if constexpr (std::is_same_v<C, double>) {
    return highest ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity();
  } else if (dtype == DType::kBool) {
    return static_cast<C>(highest);
  } else {
    const int bits = static_cast<int>(8 * ByteSize(dtype));
    const C top =
        static_cast<C>(std::is_same_v<C, int64_t> ? ~uint64_t{0} >> (65 - bits) : ~uint64_t{0} >> (64 - bits));
    if constexpr (std::is_same_v<C, int64_t>)
      return highest ? top : -top - 1;
    else
      return highest ? top : 0;
  }
}

template <typename C>
C Start(Kind kind, DType dtype) {
  if (kind == Kind::kMax || kind == Kind::kMin) return Extreme<C>(dtype, kind == Kind::kMin);
  return kind == Kind::kProd ? C{1} : C{0};
}

template <typename C>
C Step(Kind kind, C total, C x) {
  switch (kind) {
    case Kind::kProd:
      return WrapMul(total, x);
    case Kind::kMax:
      return IsNan(x) || x > total ? x : total;  // NaN, once met, stays: no x compares above it
    case Kind::kMin:
      return IsNan(x) || x < total ? x : total;
    case Kind::kL1:
      return WrapAdd(total, x < C{} ? WrapSub(C{}, x) : x);
    case Kind::kL2:
    case Kind::kSumSquare:
      return WrapAdd(total, WrapMul(x, x));
    default:
      return WrapAdd(total, x);
  }
}

template <typename C>
C Finish(Kind kind, C total, int64_t count) {
  if (kind == Kind::kMean) {
    if constexpr (!std::is_same_v<C, double>)
      return count ? total / static_cast<C>(count) : C{};
    else
      return total / static_cast<double>(count);
  }
  if (kind == Kind::kL2) return static_cast<C>(std::sqrt(static_cast<double>(total)));
  if (kind == Kind::kLogSum) return static_cast<C>(std::log(static_cast<double>(total)));
  return total;
}

// Strides into the output, with reduced axes standing still; `out` follows the kept axes in order.
Strides ReducedStrides(const Shape& shape, const std::vector<bool>& reduced) {
  Strides strides{};
  int64_t step = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides[axis] = reduced[axis] ? 0 : step;
    if (!reduced[axis]) step *= shape[axis];
  }
  return strides;
}

std::vector<bool> ReducedAxes(const Args& args) {
  const int rank = args.In(0).shape.rank();
  const std::vector<int64_t> axes = args.IntsIn(1);
  std::vector<bool> reduced(static_cast<size_t>(rank), axes.empty() && !args.Int("noop_with_empty_axes", 0));
  for (int64_t axis : axes) reduced[Axis(axis, rank)] = true;
  return reduced;
}

// log(sum(exp(x))), shifted by the largest x so that it cannot overflow.
void LogSumExp(const Args& args, const std::vector<int64_t>& to, const std::vector<double>& x,
               std::vector<double>& out) {
  std::vector<double> largest(out.size(), -std::numeric_limits<double>::infinity());
  for (size_t i = 0; i < x.size(); ++i) largest[to[i]] = Step(Kind::kMax, largest[to[i]], x[i]);
  for (double& shift : largest) shift = std::isfinite(shift) ? shift : 0;
  std::fill(out.begin(), out.end(), 0.0);
  for (size_t i = 0; i < x.size(); ++i) out[to[i]] += std::exp(x[i] - largest[to[i]]);
  for (size_t i = 0; i < out.size(); ++i) out[i] = std::log(out[i]) + largest[i];
  StoreAll<double>(args.Out(0), out);
}

template <Kind kKind>
void Reduce(const Args& args) {
  const TensorView& in = args.In(0);
  const std::vector<bool> reduced = ReducedAxes(args);
  const std::vector<int64_t> to = AllOffsets(in.shape, ReducedStrides(in.shape, reduced));
  int64_t count = 1;
  for (int axis = 0; axis < in.shape.rank(); ++axis) count *= reduced[axis] ? in.shape[axis] : 1;
  WithRealType(in.dtype, [&](auto zero) {
    using C = decltype(zero);
    const std::vector<C> x = LoadAll<C>(in);
    std::vector<C> totals(static_cast<size_t>(args.Out(0).Count()), Start<C>(kKind, in.dtype));
    if constexpr (kKind == Kind::kLogSumExp && std::is_same_v<C, double>) return LogSumExp(args, to, x, totals);
    for (size_t i = 0; i < x.size(); ++i) totals[to[i]] = Step(kKind, totals[to[i]], x[i]);
    for (C& total : totals) total = Finish(kKind, total, count);
    StoreAll<C>(args.Out(0), totals);
  });
}

// The first (or last) position of the extreme; a NaN is more extreme than any number, as NumPy has it.
template <bool kMax>
void Arg(const Args& args) {
  const TensorView& in = args.In(0);
  const AxisView view(in.shape, Axis(args.Int("axis", 0), in.shape.rank()));
  const bool last = args.Int("select_last_index", 0) != 0;
  if (view.size == 0 && args.Out(0).Count())
    throw Error(Code::kInvalidArgument, "arg-reduction over an axis without elements");
  WithRealType(in.dtype, [&](auto zero) {
    using C = decltype(zero);
    const std::vector<C> x = LoadAll<C>(in);
    for (int64_t o = 0; o < view.outer; ++o) {
      for (int64_t i = 0; i < view.inner; ++i) {
        const C* column = x.data() + o * view.size * view.inner + i;
        int64_t best = 0;
        for (int64_t k = 1; k < view.size; ++k) {
          const C a = column[k * view.inner], b = column[best * view.inner];
          const bool equal = a == b || (IsNan(a) && IsNan(b));
          const bool beyond = !IsNan(b) && (IsNan(a) || (kMax ? a > b : a < b));
          if (beyond || (last && equal)) best = k;
        }
        StoreOne<int64_t>(args.Out(0), o * view.inner + i, best);
      }
    }
  });
}

constexpr PlainOp kOps[] = {
    {"ReduceSum", Reduce<Kind::kSum>},
    {"ReduceMean", Reduce<Kind::kMean>},
    {"ReduceProd", Reduce<Kind::kProd>},
    {"ReduceMax", Reduce<Kind::kMax>},
    {"ReduceMin", Reduce<Kind::kMin>},
    {"ReduceL1", Reduce<Kind::kL1>},
    {"ReduceL2", Reduce<Kind::kL2>},
    {"ReduceSumSquare", Reduce<Kind::kSumSquare>},
    {"ReduceLogSum", Reduce<Kind::kLogSum>},
    {"ReduceLogSumExp", Reduce<Kind::kLogSumExp>},
    {"ArgMax", Arg<true>},
    {"ArgMin", Arg<false>},
};

}  // namespace

std::span<const PlainOp> ReduceOps() { return kOps; }

}  // namespace ziggurat::plain
