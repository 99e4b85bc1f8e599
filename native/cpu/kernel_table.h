// What one instruction set's kernels offer: plain function pointers over plain structs, one member a family.
//
// Every native/cpu/kernels/<family>.cc is compiled once per instruction set and defines one
// `extern const <Family>Kernels k<Family>Kernels;` in namespace ziggurat::cpu::<isa>; kernels/table.cc joins them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/kernels/linear.h"
#include "cpu/kernels/matrix.h"
#include "cpu/kernels/vector.h"

namespace ziggurat::cpu {

struct KernelTable {
  const char* isa;  // "sse42" | "avx2" | "avx512" | "avx512vnni"
  int vector_bytes;
  const MatrixKernels* matrix;  // GEMM, matrix-vector, convolution, packing
  const VectorKernels* vector;  // element-wise, row reductions, moves, pooling, resize
  const LinearKernels* linear;  // products with block-encoded weights
};

// The instruction sets that this build has kernels for and this host can run, weakest first.
std::vector<std::string_view> UsableIsas();

// The strongest usable table, or the one named. A name that is unknown or that the host cannot run is
// kInvalidArgument listing those it can. Asks CPUID: an Engine calls this once and keeps the answer.
const KernelTable& SelectKernels(const std::optional<std::string>& isa);

}  // namespace ziggurat::cpu
