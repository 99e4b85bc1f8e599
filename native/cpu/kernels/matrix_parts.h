// What the matrix units of one instruction set share beside the register tile.
#pragma once

#include "cpu/kernels/matrix.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {

void Gemm(const GemmArgs& args);
int64_t GemmScratch(int64_t m, int64_t k);

void PackA(const MatrixView& a, int64_t m, int64_t k, float* packed);
void PackB(const PackBArgs& args);
void PackHalf(const PackHalfArgs& args);
// Packs rows row0 .. row0 + rows, columns k0 .. k0 + k as an A of its own.
void PackARows(const MatrixView& a, int64_t row0, int64_t rows, int64_t k0, int64_t k, float* packed);

extern const Int8Kernels kInt8Kernels;

PlainGemmFn FindPlainGemm(DType dtype);

void Conv(const ConvArgs& args);
int64_t ConvScratch(const ConvShape& shape);
void Fold(const FoldArgs& args);
void Depthwise(const ConvArgs& args);
int64_t DepthwiseScratch(const ConvShape& shape);

extern const LastConvKernels kLastConvKernels;
void DepthwiseLast(const DepthwiseLastArgs& args);
void WinogradLastInput(const WinogradLastArgs& args, int64_t first, int64_t last);
void WinogradLastMultiply(const WinogradLastArgs& args, int position, int64_t first_panel, int64_t last_panel);
void WinogradLastOutput(const WinogradLastArgs& args, int64_t first, int64_t last);

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
