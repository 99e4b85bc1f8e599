#include "cpu/kernel_table.h"
#include "cpu/simd.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {

extern const LinearKernels kLinearKernels;
extern const MatrixKernels kMatrixKernels;
extern const VectorKernels kVectorKernels;

#define ZIGGURAT_NAME_OF(isa) #isa
#define ZIGGURAT_NAME(isa) ZIGGURAT_NAME_OF(isa)
extern const KernelTable kTable;
const KernelTable kTable = {ZIGGURAT_NAME(ZIGGURAT_ISA), kVectorBytes, &kMatrixKernels, &kVectorKernels,
                            &kLinearKernels};

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
