// What the linear units of one instruction set share.
#pragma once

#include "cpu/kernels/linear.h"
#include "cpu/simd.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {

void PackLinear(const PackLinearArgs& args);
void UnpackLinearRow(LinearFormat format, const std::byte* packed, int64_t k, int64_t row, float* out);
int64_t EncodeLinear(const EncodeLinearArgs& args);
void QuantizeInput(const QuantizeInputArgs& args);

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
