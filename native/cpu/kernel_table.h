// What one instruction set's kernels offer: plain function pointers over plain structs, one member a family.
//
// Every native/cpu/kernels/<family>.cc is compiled once per instruction set and defines one
// `extern const <Family>Kernels k<Family>Kernels;` in namespace ziggurat::cpu::<isa>; kernels/table.cc joins them.
#pragma once

#include "cpu/kernels/matrix.h"
#include "cpu/kernels/vector.h"

namespace ziggurat::cpu {

struct KernelTable {
  const char* isa;  // "sse42" | "avx2" | "avx512" | "avx512vnni"
  int vector_bytes;
  const MatrixKernels* matrix;  // GEMM, matrix-vector, convolution, packing
  const VectorKernels* vector;  // element-wise, row reductions, moves, pooling, resize
};

}  // namespace ziggurat::cpu
