// float32 binary kernels, and the doors to all binary, comparing and selecting kernels.
#include "cpu/kernels/vector_math.h"
#include "cpu/kernels/vector_parts.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

ZIGGURAT_INLINE float PowLane(float base, float exponent) {
  // The exponents that models write; PowScalar below gives the same bits for them.
  if (exponent == 2.0f) return base * base;
  if (exponent == 3.0f) return base * base * base;
  if (exponent == 1.0f) return base;
  if (exponent == -1.0f) return 1.0f / base;
  return ::powf(base, exponent);
}
// Python's: the result has the divisor's sign.
ZIGGURAT_INLINE float ModLane(float a, float b) {
  const float r = ::fmodf(a, b);
  return r != 0.0f && (r < 0.0f) != (b < 0.0f) ? r + b : r;
}
ZIGGURAT_INLINE float FmodLane(float a, float b) { return ::fmodf(a, b); }

template <float (*function)(float, float)>
ZIGGURAT_INLINE F32 PerLane2(F32 a, F32 b) {
  alignas(64) float x[kLanes], y[kLanes];
  StoreAligned(a, x);
  StoreAligned(b, y);
  for (int i = 0; i < kLanes; ++i) x[i] = function(x[i], y[i]);
  return LoadAligned(x);
}

#define ZIGGURAT_BINARY(name, expression)                                        \
  struct name##Op {                                                              \
    ZIGGURAT_INLINE F32 Do(F32 a, [[maybe_unused]] F32 b) { return expression; } \
  };

ZIGGURAT_BINARY(Add, a + b)
ZIGGURAT_BINARY(Sub, a - b)
ZIGGURAT_BINARY(Mul, a* b)
ZIGGURAT_BINARY(Div, a / b)
ZIGGURAT_BINARY(Min, MinNan(a, b))
ZIGGURAT_BINARY(Max, MaxNan(a, b))
ZIGGURAT_BINARY(PRelu, Select(Lt(a, Zero()), a* b, a))
ZIGGURAT_BINARY(SiluMul, a* Sigmoid(a) * b)
ZIGGURAT_BINARY(Pow, PerLane2<PowLane>(a, b))
ZIGGURAT_BINARY(Mod, PerLane2<ModLane>(a, b))
ZIGGURAT_BINARY(Fmod, PerLane2<FmodLane>(a, b))

template <typename Op>
void Both(const float* a, const float* b, float* y, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(Op::Do(Load(a + i), Load(b + i)), y + i);
  const int left = static_cast<int>(n - i);
  if (left > 0) StoreN(Op::Do(LoadN(a + i, left), LoadN(b + i, left)), y + i, left);
}
template <typename Op>
void ScalarA(float a_value, const float* b, float* y, int64_t n) {
  const F32 a = Set(a_value);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(Op::Do(a, Load(b + i)), y + i);
  const int left = static_cast<int>(n - i);
  if (left > 0) StoreN(Op::Do(a, LoadN(b + i, left)), y + i, left);
}
template <typename Op>
void ScalarB(const float* a, float b_value, float* y, int64_t n) {
  const F32 b = Set(b_value);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(Op::Do(Load(a + i), b), y + i);
  const int left = static_cast<int>(n - i);
  if (left > 0) StoreN(Op::Do(LoadN(a + i, left), b), y + i, left);
}

template <typename Op>
void Binary(const void* a, const void* b, void* y, int64_t n, Form form) {
  const float* x1 = static_cast<const float*>(a);
  const float* x2 = static_cast<const float*>(b);
  float* out = static_cast<float*>(y);
  if (n <= 0) return;
  switch (form) {
    case Form::kBoth:
      return Both<Op>(x1, x2, out, n);
    case Form::kScalarA:
      return ScalarA<Op>(*x1, x2, out, n);
    case Form::kScalarB:
      return ScalarB<Op>(x1, *x2, out, n);
  }
}

ZIGGURAT_BINARY(Cube, a * a * a)
ZIGGURAT_BINARY(SquareOf, a* a)

void Pow(const void* a, const void* b, void* y, int64_t n, Form form) {
  if (n > 0 && form == Form::kScalarB) {
    const float exponent = *static_cast<const float*>(b);
    const float* x = static_cast<const float*>(a);
    if (exponent == 2.0f) return ScalarB<SquareOfOp>(x, exponent, static_cast<float*>(y), n);
    if (exponent == 3.0f) return ScalarB<CubeOp>(x, exponent, static_cast<float*>(y), n);
  }
  return Binary<PowOp>(a, b, y, n, form);
}

template <typename T>
void SelectRun(const SelectArgs& args) {
  const bool* condition = args.condition;
  const T* a = static_cast<const T*>(args.a);
  const T* b = static_cast<const T*>(args.b);
  T* y = static_cast<T*>(args.y);
  if (args.condition_steps && args.a_steps && args.b_steps) {
#pragma GCC ivdep
    for (int64_t i = 0; i < args.n; ++i) y[i] = condition[i] ? a[i] : b[i];
  } else if (args.condition_steps && args.a_steps) {
    const T no = *b;
#pragma GCC ivdep
    for (int64_t i = 0; i < args.n; ++i) y[i] = condition[i] ? a[i] : no;
  } else if (args.condition_steps && args.b_steps) {
    const T yes = *a;
#pragma GCC ivdep
    for (int64_t i = 0; i < args.n; ++i) y[i] = condition[i] ? yes : b[i];
  } else {
    for (int64_t i = 0; i < args.n; ++i)
      y[i] = condition[args.condition_steps ? i : 0] ? a[args.a_steps ? i : 0] : b[args.b_steps ? i : 0];
  }
}

}  // namespace

BinaryFn FindBinaryF32(BinaryOp op) {
  switch (op) {
#define ZIGGURAT_CASE(name) \
  case BinaryOp::k##name:   \
    return &Binary<name##Op>;
    ZIGGURAT_CASE(Add)
    ZIGGURAT_CASE(Sub)
    ZIGGURAT_CASE(Mul)
    ZIGGURAT_CASE(Div)
    ZIGGURAT_CASE(Min)
    ZIGGURAT_CASE(Max)
    ZIGGURAT_CASE(Mod)
    ZIGGURAT_CASE(Fmod)
    ZIGGURAT_CASE(PRelu)
    ZIGGURAT_CASE(SiluMul)
#undef ZIGGURAT_CASE
    case BinaryOp::kPow:
      return &Pow;
    default:
      return nullptr;
  }
}

BinaryFn FindBinary(BinaryOp op, DType dtype) {
  return dtype == DType::kFloat32 ? FindBinaryF32(op) : FindBinaryInteger(op, dtype);
}

SelectFn FindSelect(int element_bytes) {
  switch (element_bytes) {
    case 1:
      return &SelectRun<uint8_t>;
    case 2:
      return &SelectRun<uint16_t>;
    case 4:
      return &SelectRun<uint32_t>;
    case 8:
      return &SelectRun<uint64_t>;
    default:
      return nullptr;
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
