// The matrix family: what the GEMM, matrix-vector, convolution and packing kernels take.
#pragma once

namespace ziggurat::cpu {

struct MatrixKernels {};

}  // namespace ziggurat::cpu
