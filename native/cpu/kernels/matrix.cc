#include "cpu/kernels/matrix.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {

extern const MatrixKernels kMatrixKernels;
const MatrixKernels kMatrixKernels = {};

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
