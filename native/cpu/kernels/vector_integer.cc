// Binary and comparing kernels of integers, bool and float64: simple loops that the compiler vectorises.
//
// Add, Sub, Mul, bitwise operations and Equal do not care about the sign, so one unsigned instance serves both types
// of a width; wrapping around is then defined behaviour too.
#include <math.h>

#include "cpu/kernels/vector_parts.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

#define ZIGGURAT_LANE(name, expression) \
  struct name##Op {                     \
    template <typename T>               \
    static T Do(T a, T b) {             \
      return expression;                \
    }                                   \
  };

// uint8 and uint16 would be promoted to int, whose product may overflow.
#define ZIGGURAT_WIDE(a) (static_cast<uint64_t>(a))

template <typename T>
T Divide(T a, T b) {
  if constexpr (T(-1) > T(0)) {
    return b == 0 ? T(0) : static_cast<T>(a / b);
  } else {
    // Dividing the least value by -1 would trap: negate by wrapping around instead.
    if (b == 0) return 0;
    return b == -1 ? static_cast<T>(0 - ZIGGURAT_WIDE(a)) : static_cast<T>(a / b);
  }
}
template <typename T>
T Remainder(T a, T b) {
  if constexpr (T(-1) > T(0))
    return b == 0 ? T(0) : static_cast<T>(a % b);
  else
    return b == 0 || b == -1 ? T(0) : static_cast<T>(a % b);
}
template <typename T>
T Modulo(T a, T b) {
  const T r = Remainder(a, b);
  return r != 0 && (r < 0) != (b < 0) ? static_cast<T>(r + b) : r;
}
// Square and multiply; a negative exponent leaves 0 unless the base is 1 or -1.
template <typename T>
T Power(T base, T exponent) {
  if (exponent < 0) {
    if (base == 1) return 1;
    return base == static_cast<T>(-1) ? static_cast<T>(exponent % 2 ? -1 : 1) : T(0);
  }
  uint64_t y = 1, factor = ZIGGURAT_WIDE(base);
  for (uint64_t left = ZIGGURAT_WIDE(exponent); left; left >>= 1, factor *= factor)
    if (left & 1) y *= factor;
  return static_cast<T>(y);
}

ZIGGURAT_LANE(Add, static_cast<T>(ZIGGURAT_WIDE(a) + ZIGGURAT_WIDE(b)))
ZIGGURAT_LANE(Sub, static_cast<T>(ZIGGURAT_WIDE(a) - ZIGGURAT_WIDE(b)))
ZIGGURAT_LANE(Mul, static_cast<T>(ZIGGURAT_WIDE(a) * ZIGGURAT_WIDE(b)))
ZIGGURAT_LANE(And, static_cast<T>(a& b))
ZIGGURAT_LANE(Or, static_cast<T>(a | b))
ZIGGURAT_LANE(Xor, static_cast<T>(a ^ b))
ZIGGURAT_LANE(ShiftLeft, b < T(sizeof(T) * 8) ? static_cast<T>(ZIGGURAT_WIDE(a) << b) : T(0))
ZIGGURAT_LANE(ShiftRight, b < T(sizeof(T) * 8) ? static_cast<T>(a >> b) : T(0))
ZIGGURAT_LANE(Min, b < a ? b : a)
ZIGGURAT_LANE(Max, b > a ? b : a)
ZIGGURAT_LANE(Div, Divide(a, b))
ZIGGURAT_LANE(Mod, Modulo(a, b))
ZIGGURAT_LANE(Fmod, Remainder(a, b))
ZIGGURAT_LANE(Pow, Power(a, b))

// float64: the same names with floating-point meaning.
ZIGGURAT_LANE(FloatAdd, a + b)
ZIGGURAT_LANE(FloatSub, a - b)
ZIGGURAT_LANE(FloatMul, a* b)
ZIGGURAT_LANE(FloatDiv, a / b)
ZIGGURAT_LANE(FloatMin, a != a ? a : (a < b ? a : b))
ZIGGURAT_LANE(FloatMax, a != a ? a : (a > b ? a : b))
ZIGGURAT_LANE(FloatPow, ::pow(a, b))
ZIGGURAT_LANE(FloatFmod, ::fmod(a, b))
ZIGGURAT_LANE(FloatPRelu, a < 0 ? a * b : a)

struct EqualOp {
  template <typename T>
  static bool Do(T a, T b) {
    return a == b;
  }
};
struct LessOp {
  template <typename T>
  static bool Do(T a, T b) {
    return a < b;
  }
};
struct LessOrEqualOp {
  template <typename T>
  static bool Do(T a, T b) {
    return a <= b;
  }
};

template <typename T, typename Out, typename Op>
void Run(const void* a_bytes, const void* b_bytes, void* y_bytes, int64_t n, Form form) {
  if (n <= 0) return;
  const T* a = static_cast<const T*>(a_bytes);
  const T* b = static_cast<const T*>(b_bytes);
  Out* y = static_cast<Out*>(y_bytes);
  if (form == Form::kBoth) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) y[i] = Op::template Do<T>(a[i], b[i]);
  } else if (form == Form::kScalarA) {
    const T value = *a;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) y[i] = Op::template Do<T>(value, b[i]);
  } else {
    const T value = *b;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) y[i] = Op::template Do<T>(a[i], value);
  }
}

template <typename U>
BinaryFn SignlessOp(BinaryOp op) {
  switch (op) {
    case BinaryOp::kAdd:
      return &Run<U, U, AddOp>;
    case BinaryOp::kSub:
      return &Run<U, U, SubOp>;
    case BinaryOp::kMul:
      return &Run<U, U, MulOp>;
    case BinaryOp::kAnd:
      return &Run<U, U, AndOp>;
    case BinaryOp::kOr:
      return &Run<U, U, OrOp>;
    case BinaryOp::kXor:
      return &Run<U, U, XorOp>;
    case BinaryOp::kShiftLeft:
      return &Run<U, U, ShiftLeftOp>;
    default:
      return nullptr;
  }
}

template <typename T, typename U>
BinaryFn IntegerOp(BinaryOp op) {
  switch (op) {
    case BinaryOp::kShiftRight:
      // Defined for unsigned types; ONNX has no other.
      return &Run<U, U, ShiftRightOp>;
    case BinaryOp::kMin:
      return &Run<T, T, MinOp>;
    case BinaryOp::kMax:
      return &Run<T, T, MaxOp>;
    case BinaryOp::kDiv:
      return &Run<T, T, DivOp>;
    case BinaryOp::kMod:
      return &Run<T, T, ModOp>;
    case BinaryOp::kFmod:
      return &Run<T, T, FmodOp>;
    case BinaryOp::kPow:
      return &Run<T, T, PowOp>;
    default:
      return SignlessOp<U>(op);
  }
}

BinaryFn Float64Op(BinaryOp op) {
  switch (op) {
    case BinaryOp::kAdd:
      return &Run<double, double, FloatAddOp>;
    case BinaryOp::kSub:
      return &Run<double, double, FloatSubOp>;
    case BinaryOp::kMul:
      return &Run<double, double, FloatMulOp>;
    case BinaryOp::kDiv:
      return &Run<double, double, FloatDivOp>;
    case BinaryOp::kMin:
      return &Run<double, double, FloatMinOp>;
    case BinaryOp::kMax:
      return &Run<double, double, FloatMaxOp>;
    case BinaryOp::kPow:
      return &Run<double, double, FloatPowOp>;
    case BinaryOp::kFmod:
      return &Run<double, double, FloatFmodOp>;
    case BinaryOp::kPRelu:
      return &Run<double, double, FloatPReluOp>;
    default:
      return nullptr;
  }
}

template <typename T, typename U>
BinaryFn Comparison(CompareOp op) {
  switch (op) {
    case CompareOp::kEqual:
      return &Run<U, bool, EqualOp>;
    case CompareOp::kLess:
      return &Run<T, bool, LessOp>;
    case CompareOp::kLessOrEqual:
      return &Run<T, bool, LessOrEqualOp>;
  }
  return nullptr;
}

}  // namespace

BinaryFn FindBinaryInteger(BinaryOp op, DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return Float64Op(op);
    case DType::kBool:
      // Bools are bytes of 0 or 1, on which bitwise and logical operations agree.
      return op == BinaryOp::kAnd || op == BinaryOp::kOr || op == BinaryOp::kXor ? SignlessOp<uint8_t>(op) : nullptr;
    case DType::kInt8:
      return IntegerOp<int8_t, uint8_t>(op);
    case DType::kUint8:
      return IntegerOp<uint8_t, uint8_t>(op);
    case DType::kInt16:
      return IntegerOp<int16_t, uint16_t>(op);
    case DType::kUint16:
      return IntegerOp<uint16_t, uint16_t>(op);
    case DType::kInt32:
      return IntegerOp<int32_t, uint32_t>(op);
    case DType::kUint32:
      return IntegerOp<uint32_t, uint32_t>(op);
    case DType::kInt64:
      return IntegerOp<int64_t, uint64_t>(op);
    case DType::kUint64:
      return IntegerOp<uint64_t, uint64_t>(op);
    default:
      return nullptr;
  }
}

BinaryFn FindCompare(CompareOp op, DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return Comparison<float, float>(op);
    case DType::kFloat64:
      return Comparison<double, double>(op);
    case DType::kBool:
    case DType::kUint8:
      return Comparison<uint8_t, uint8_t>(op);
    case DType::kInt8:
      return Comparison<int8_t, uint8_t>(op);
    case DType::kInt16:
      return Comparison<int16_t, uint16_t>(op);
    case DType::kUint16:
      return Comparison<uint16_t, uint16_t>(op);
    case DType::kInt32:
      return Comparison<int32_t, uint32_t>(op);
    case DType::kUint32:
      return Comparison<uint32_t, uint32_t>(op);
    case DType::kInt64:
      return Comparison<int64_t, uint64_t>(op);
    case DType::kUint64:
      return Comparison<uint64_t, uint64_t>(op);
    default:
      return nullptr;
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
