#include "cpu/kernels/vector.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {

extern const VectorKernels kVectorKernels;
const VectorKernels kVectorKernels = {};

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
