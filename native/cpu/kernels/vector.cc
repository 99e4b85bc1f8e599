#include "cpu/kernels/vector.h"

#include "cpu/kernels/vector_parts.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {

extern const VectorKernels kVectorKernels;
const VectorKernels kVectorKernels = {
    .elementwise = {&FindUnary, &FindClassify, &FindBinary, &FindCompare, &FindSelect},
};

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
