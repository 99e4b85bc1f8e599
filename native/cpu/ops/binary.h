// Running a binary element-wise kernel over broadcast tensors, for the ops that need it.
#pragma once

#include "cpu/ops/half.h"
#include "device/device.h"

namespace ziggurat::cpu {

struct BinaryRun {
  BinaryFn run = nullptr;
  HalfCasts half;        // for float16 and bfloat16: `run` is then the float32 kernel
  bool to_bool = false;  // a comparison
  bool swapped = false;  // run(b, a)
};

// The kernel of an arithmetic op for a type, with `run` null where there is none.
BinaryRun FindBinaryRun(const KernelTable& table, BinaryOp op, DType dtype);
BinaryRun FindCompareRun(const KernelTable& table, CompareOp op, DType dtype, bool swapped = false);

// That of a node's op and attributes on operands of a type; of Sum, Mean, Max and Min what they are folded by.
BinaryRun FindBinaryRun(const Node& node, const KernelTable& table, DType dtype);

// y = op(a, b), broadcast to y's shape. y may be a or b where that has y's shape.
void RunBinary(const Team& team, const BinaryRun& run, const TensorView& a, const TensorView& b, const TensorView& y);

// Throws kInvalidArgument naming the element if an integer tensor has a zero.
void RefuseZeroDivisor(const TensorView& divisor);

}  // namespace ziggurat::cpu
