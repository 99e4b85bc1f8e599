// Element-wise kernels: what they compute, and the functions that compute it on one run of elements.
//
// A run is contiguous: y[i] = op(x[i]) for i in [0, n). The output may be one of the inputs, else they must not
// overlap. Pointers need the alignment of an element only. float16 and bfloat16 go through float32 tiles
// (vector_cast.h).
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace ziggurat::cpu {

// The operation's own numbers, named as ONNX names them where one is used:
//   LeakyRelu, Elu, Celu, ThresholdedRelu: alpha. Selu: alpha, beta = gamma. HardSigmoid, Affine: alpha x + beta.
//   Clip: [alpha, beta]. Swish: x sigmoid(alpha x). Shrink: alpha = lambd, beta = bias.
//   IsInf: alpha != 0 detects +inf, beta != 0 detects -inf.
struct ElementParams {
  float alpha = 0;
  float beta = 0;
};

// float32 -> float32.
// clang-format off
#define ZIGGURAT_UNARY_OPS(X) \
  X(Abs) X(Neg) X(Sign) X(Floor) X(Ceil) X(Round) X(Sqrt) X(Rsqrt) \
  X(Reciprocal) X(Square) X(Exp) X(Log) X(Erf) X(Tanh) X(Sigmoid) X(Gelu) \
  X(GeluTanh) X(Silu) X(Swish) X(HardSigmoid) X(HardSwish) X(Relu) X(LeakyRelu) X(ThresholdedRelu) \
  X(Elu) X(Selu) X(Celu) X(Softplus) X(Softsign) X(Mish) X(Clip) X(Shrink) \
  X(Affine) X(Sin) X(Cos) X(Tan) X(Asin) X(Acos) X(Atan) X(Sinh) \
  X(Cosh) X(Asinh) X(Acosh) X(Atanh)
// clang-format on

// float32 -> bool.
#define ZIGGURAT_CLASSIFY_OPS(X) X(IsNan) X(IsInf)

// T, T -> T. Integers wrap around. Integer Div truncates and Mod takes the divisor's sign (Fmod the dividend's); a zero
// divisor gives 0, so callers that must refuse it look first. Min and Max hand on NaN. PRelu(x, slope).
// SiluMul(a, b) = a sigmoid(a) b. Shifts by the width or more give 0.
#define ZIGGURAT_BINARY_OPS(X) \
  X(Add)                       \
  X(Sub)                       \
  X(Mul) X(Div) X(Pow) X(Min) X(Max) X(Mod) X(Fmod) X(PRelu) X(SiluMul) X(And) X(Or) X(Xor) X(ShiftLeft) X(ShiftRight)

// T, T -> bool.
#define ZIGGURAT_COMPARE_OPS(X) X(Equal) X(Less) X(LessOrEqual)

#define ZIGGURAT_ENUMERATOR(name) k##name,
enum class UnaryOp : uint8_t { ZIGGURAT_UNARY_OPS(ZIGGURAT_ENUMERATOR) };
enum class ClassifyOp : uint8_t { ZIGGURAT_CLASSIFY_OPS(ZIGGURAT_ENUMERATOR) };
enum class BinaryOp : uint8_t { ZIGGURAT_BINARY_OPS(ZIGGURAT_ENUMERATOR) };
enum class CompareOp : uint8_t { ZIGGURAT_COMPARE_OPS(ZIGGURAT_ENUMERATOR) };
#undef ZIGGURAT_ENUMERATOR

// Which operand is one element for the whole run.
enum class Form : uint8_t { kBoth, kScalarA, kScalarB };

using UnaryFn = void (*)(const void* x, void* y, int64_t n, const ElementParams& params);
using BinaryFn = void (*)(const void* a, const void* b, void* y, int64_t n, Form form);
// y[i] = condition[i] ? a[i] : b[i]; a zero step repeats the operand's one element.
struct SelectArgs {
  const bool* condition;
  const void* a;
  const void* b;
  void* y;
  int64_t n;
  bool condition_steps, a_steps, b_steps;
};
using SelectFn = void (*)(const SelectArgs& args);

struct ElementwiseKernels {
  UnaryFn (*unary)(UnaryOp op);                  // float32; every op has one
  UnaryFn (*classify)(ClassifyOp op);            // float32
  BinaryFn (*binary)(BinaryOp op, DType dtype);  // null where the pair makes no sense or is not built
  BinaryFn (*compare)(CompareOp op, DType dtype);
  SelectFn (*select)(int element_bytes);  // 1, 2, 4, 8
};

}  // namespace ziggurat::cpu
