// Element-wise ops of two or more inputs, with NumPy broadcasting.
#include <cmath>
#include <string>

#include "device/reference/moves.h"
#include "device/reference/plain.h"

namespace ziggurat::plain {
namespace {

// out = fn(a, b) over the broadcast shape; `read` is the dtype class that both inputs are computed in.
template <typename C>
void RunBinary(const Args& args, C (*fn)(C, C)) {
  const TensorView& out = args.Out(0);
  Walk a(out.shape, BroadcastStrides(args.In(0).shape, out.shape));
  Walk b(out.shape, BroadcastStrides(args.In(1).shape, out.shape));
  int64_t offsets[kRun];
  C x[kRun], y[kRun];
  ForRuns(out.Count(), [&](int64_t first, int64_t count) {
    a.Next(count, offsets);
    LoadAt<C>(args.In(0), offsets, count, x);
    b.Next(count, offsets);
    LoadAt<C>(args.In(1), offsets, count, y);
    for (int64_t i = 0; i < count; ++i) x[i] = fn(x[i], y[i]);
    Store<C>(out, first, count, x);
  });
}

// `fn` is a generic lambda without captures.
template <typename Fn>
void Binary(const Args& args, Fn fn) {
  WithRealType(args.In(0).dtype, [&](auto zero) { RunBinary<decltype(zero)>(args, fn); });
}

template <typename C>
C Divide(C a, C b) {
  if constexpr (std::is_same_v<C, double>) {
    return a / b;
  } else {
    if (b == 0) throw Error(Code::kInvalidArgument, "integer division by zero");
    if constexpr (std::is_same_v<C, int64_t>)
      if (b == -1) return WrapSub<int64_t>(0, a);
    return a / b;
  }
}

// The remainder with the divisor's sign, as Python's %.
template <typename C>
C FloorMod(C a, C b) {
  if constexpr (std::is_same_v<C, double>) {
    const double rest = std::fmod(a, b);
    if (rest == 0) return std::copysign(0.0, b);
    return (rest < 0) != (b < 0) ? rest + b : rest;
  } else {
    if (b == 0) throw Error(Code::kInvalidArgument, "integer remainder of a division by zero");
    if constexpr (std::is_same_v<C, int64_t>) {
      if (b == -1) return 0;
      const int64_t rest = a % b;
      return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
    } else {
      return a % b;
    }
  }
}

template <typename C>
C TruncMod(C a, C b) {
  if constexpr (std::is_same_v<C, double>) {
    return std::fmod(a, b);
  } else {
    if (b == 0) throw Error(Code::kInvalidArgument, "integer remainder of a division by zero");
    if constexpr (std::is_same_v<C, int64_t>)
      if (b == -1) return 0;
    return a % b;
  }
}

void Mod(const Args& args) {
  if (args.Int("fmod", 0)) return Binary(args, [](auto a, auto b) { return TruncMod(a, b); });
  Binary(args, [](auto a, auto b) { return FloorMod(a, b); });
}

// Wraps around; a negative exponent is 1 / a^-b, truncated.
int64_t IntPower(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) throw Error(Code::kInvalidArgument, "0 to the power of ", exponent, " is a division by zero");
    if (base == 1) return 1;
    if (base == -1) return exponent % 2 ? -1 : 1;
    return 0;
  }
  int64_t result = 1;
  for (; exponent; exponent >>= 1, base = WrapMul(base, base))
    if (exponent & 1) result = WrapMul(result, base);
  return result;
}

void Pow(const Args& args) {
  if (IsFloat(args.In(0).dtype) || IsFloat(args.In(1).dtype))
    return RunBinary<double>(args, [](double a, double b) { return std::pow(a, b); });
  // An unsigned exponent above 2^63 would read as negative.
  if (args.In(1).dtype == DType::kUint64)
    for (uint64_t value : LoadAll<uint64_t>(args.In(1)))
      if (value >> 63) throw Error(Code::kUnsupported, "integer exponent ", value, " is above 2^63");
  RunBinary<int64_t>(args, IntPower);
}

// The value of every bit beyond the width: the sign bit's for a signed number shifted right, otherwise 0.
template <bool kLeft>
void Shift(const Args& args) {
  const DType dtype = args.In(0).dtype;
  const int64_t bits = static_cast<int64_t>(8 * ByteSize(dtype));
  const TensorView& out = args.Out(0);
  const std::vector<int64_t> a_at = AllOffsets(out.shape, BroadcastStrides(args.In(0).shape, out.shape));
  const std::vector<int64_t> b_at = AllOffsets(out.shape, BroadcastStrides(args.In(1).shape, out.shape));
  for (size_t i = 0; i < a_at.size(); ++i) {
    int64_t by = LoadOne<int64_t>(args.In(1), b_at[i]);
    const bool beyond = by < 0 || by >= bits;
    if (kLeft) {
      const uint64_t value = LoadOne<uint64_t>(args.In(0), a_at[i]);
      StoreOne<uint64_t>(out, static_cast<int64_t>(i), beyond ? 0 : value << by);
    } else if (IsSignedInteger(dtype)) {
      const int64_t value = LoadOne<int64_t>(args.In(0), a_at[i]);
      StoreOne<int64_t>(out, static_cast<int64_t>(i), beyond ? (value < 0 ? -1 : 0) : value >> by);
    } else {
      const uint64_t value = LoadOne<uint64_t>(args.In(0), a_at[i]);
      StoreOne<uint64_t>(out, static_cast<int64_t>(i), beyond ? 0 : value >> by);
    }
  }
}

void BitShift(const Args& args) {
  if (args.String("direction") == "LEFT") return Shift<true>(args);
  Shift<false>(args);
}

void Equal(const Args& args) {
  if (args.In(0).dtype != DType::kString) return Binary(args, [](auto a, auto b) { return decltype(a)(a == b); });
  const TensorView& out = args.Out(0);
  const std::vector<int64_t> a_at = AllOffsets(out.shape, BroadcastStrides(args.In(0).shape, out.shape));
  const std::vector<int64_t> b_at = AllOffsets(out.shape, BroadcastStrides(args.In(1).shape, out.shape));
  for (size_t i = 0; i < a_at.size(); ++i)
    out.As<uint8_t>()[i] = args.In(0).As<std::string>()[a_at[i]] == args.In(1).As<std::string>()[b_at[i]];
}

template <typename C>
void RunVariadic(const Args& args, C (*fn)(C, C), double divisor) {
  const TensorView& out = args.Out(0);
  std::vector<Walk> walks;
  for (int i = 0; i < args.inputs(); ++i) walks.emplace_back(out.shape, BroadcastStrides(args.In(i).shape, out.shape));
  int64_t offsets[kRun];
  C total[kRun], next[kRun];
  ForRuns(out.Count(), [&](int64_t first, int64_t count) {
    for (int i = 0; i < args.inputs(); ++i) {
      walks[i].Next(count, offsets);
      LoadAt<C>(args.In(i), offsets, count, i ? next : total);
      for (int64_t k = 0; i && k < count; ++k) total[k] = fn(total[k], next[k]);
    }
    for (int64_t k = 0; divisor != 1 && k < count; ++k) total[k] = static_cast<C>(total[k] / divisor);
    Store<C>(out, first, count, total);
  });
}

template <typename Fn>
void Variadic(const Args& args, Fn fn, double divisor = 1) {
  WithRealType(args.In(0).dtype, [&](auto zero) { RunVariadic<decltype(zero)>(args, fn, divisor); });
}

// NaN if either is.
template <typename C>
C Larger(C a, C b) {
  if (IsNan(a) || IsNan(b)) return IsNan(a) ? a : b;
  return a < b ? b : a;
}
template <typename C>
C Smaller(C a, C b) {
  if (IsNan(a) || IsNan(b)) return IsNan(a) ? a : b;
  return b < a ? b : a;
}

void Where(const Args& args) {
  const TensorView& out = args.Out(0);
  Walk condition(out.shape, BroadcastStrides(args.In(0).shape, out.shape));
  Walk x(out.shape, BroadcastStrides(args.In(1).shape, out.shape));
  Walk y(out.shape, BroadcastStrides(args.In(2).shape, out.shape));
  int64_t c_at[kRun], x_at[kRun], y_at[kRun];
  ForRuns(out.Count(), [&](int64_t first, int64_t count) {
    condition.Next(count, c_at);
    x.Next(count, x_at);
    y.Next(count, y_at);
    const uint8_t* chosen = args.In(0).As<const uint8_t>();
    for (int64_t i = 0; i < count;) {  // stretches of one side
      int64_t end = i;
      while (end < count && (chosen[c_at[end]] != 0) == (chosen[c_at[i]] != 0)) ++end;
      const bool left = chosen[c_at[i]] != 0;
      Gather(args.In(left ? 1 : 2), (left ? x_at : y_at) + i, end - i, out, first + i);
      i = end;
    }
  });
}

void Clip(const Args& args) {
  const TensorView& out = args.Out(0);
  WithRealType(out.dtype, [&](auto zero) {
    using C = decltype(zero);
    std::vector<C> values = LoadAll<C>(args.In(0));
    if (args.Has(1)) {
      const C low = LoadOne<C>(args.In(1));
      for (C& value : values) value = value < low ? low : value;
    }
    if (args.Has(2)) {
      const C high = LoadOne<C>(args.In(2));
      for (C& value : values) value = value > high ? high : value;
    }
    StoreAll<C>(out, values);
  });
}

#define ZIGGURAT_BINARY(expression) \
  [](const Args& args) { Binary(args, [](auto a, auto b) { return static_cast<decltype(a)>(expression); }); }
#define ZIGGURAT_BITWISE(operation) \
  [](const Args& args) { RunBinary<uint64_t>(args, [](uint64_t a, uint64_t b) -> uint64_t { return a operation b; }); }

constexpr PlainOp kOps[] = {
    {"Add", ZIGGURAT_BINARY(WrapAdd(a, b))},
    {"Sub", ZIGGURAT_BINARY(WrapSub(a, b))},
    {"Mul", ZIGGURAT_BINARY(WrapMul(a, b))},
    {"Div", ZIGGURAT_BINARY(Divide(a, b))},
    {"Mod", Mod},
    {"Pow", Pow},
    {"PRelu", ZIGGURAT_BINARY(a < 0 ? WrapMul(a, b) : a)},
    {"Less", ZIGGURAT_BINARY(a < b)},
    {"LessOrEqual", ZIGGURAT_BINARY(a <= b)},
    {"Greater", ZIGGURAT_BINARY(a > b)},
    {"GreaterOrEqual", ZIGGURAT_BINARY(a >= b)},
    {"Equal", Equal},
    {"And", ZIGGURAT_BITWISE(&)},
    {"Or", ZIGGURAT_BITWISE(|)},
    {"Xor", ZIGGURAT_BITWISE(^)},
    {"BitwiseAnd", ZIGGURAT_BITWISE(&)},
    {"BitwiseOr", ZIGGURAT_BITWISE(|)},
    {"BitwiseXor", ZIGGURAT_BITWISE(^)},
    {"BitShift", BitShift},
    {"Max", [](const Args& args) { Variadic(args, [](auto a, auto b) { return Larger(a, b); }); }},
    {"Min", [](const Args& args) { Variadic(args, [](auto a, auto b) { return Smaller(a, b); }); }},
    {"Sum", [](const Args& args) { Variadic(args, [](auto a, auto b) { return WrapAdd(a, b); }); }},
    {"Mean", [](const Args& args) { Variadic(args, [](auto a, auto b) { return WrapAdd(a, b); }, args.inputs()); }},
    {"Where", Where},
    {"Clip", Clip},
};

}  // namespace

std::span<const PlainOp> ElementwiseOps() { return kOps; }

}  // namespace ziggurat::plain
