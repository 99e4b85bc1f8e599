#include "cpu/kernels/matrix.h"

#include "cpu/kernels/matrix_parts.h"
#include "cpu/kernels/matrix_tile.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {

extern const MatrixKernels kMatrixKernels;
const MatrixKernels kMatrixKernels = {
    .mr = kMaxMr,
    .nr = kNr,
    .gemm = &Gemm,
    .gemm_scratch = &GemmScratch,
    .pack_a = &PackA,
    .pack_b = &PackB,
    .pack_half = &PackHalf,
    .wide_floats = kGemmPassK * kNr,
    .plain_gemm = &FindPlainGemm,
    .int8 = &kInt8Kernels,
    .conv = &Conv,
    .conv_scratch = &ConvScratch,
    .fold = &Fold,
    .depthwise = &Depthwise,
    .depthwise_scratch = &DepthwiseScratch,
    .last = &kLastConvKernels,
};

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
