// What the vector family's units lend each other within one instruction set. Not for use outside kernels/.
#pragma once

#include "cpu/kernels/vector.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {

UnaryFn FindUnary(UnaryOp op);
UnaryFn FindClassify(ClassifyOp op);
BinaryFn FindBinary(BinaryOp op, DType dtype);
BinaryFn FindBinaryF32(BinaryOp op);
BinaryFn FindBinaryInteger(BinaryOp op, DType dtype);
BinaryFn FindCompare(CompareOp op, DType dtype);
SelectFn FindSelect(int element_bytes);

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
