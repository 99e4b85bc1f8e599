// What the vector family's units lend each other within one instruction set. Not for use outside kernels/.
#pragma once

#include "cpu/kernels/vector.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {

UnaryFn FindUnary(UnaryOp op);
UnaryFn FindClassify(ClassifyOp op);
BinaryFn FindBinary(BinaryOp op, DType dtype);
BinaryFn FindBinaryF32(BinaryOp op);
BinaryFn FindBinaryInteger(BinaryOp op, DType dtype);
BinaryFn FindCompare(CompareOp op, DType dtype);
SelectFn FindSelect(int element_bytes);
CastFn FindCast(DType from, DType to);

void SoftmaxRows(const float* x, float* y, int64_t rows, int64_t n);
void LogSoftmaxRows(const float* x, float* y, int64_t rows, int64_t n);
void SoftmaxColumns(const float* x, float* y, int64_t n, int64_t stride, int64_t columns);
void LogSoftmaxColumns(const float* x, float* y, int64_t n, int64_t stride, int64_t columns);
void LayerNormRows(const NormArgs& args);
void RmsNormRows(const NormArgs& args);
Moments RowMoments(const float* x, int64_t n);
float ReduceRow(ReduceOp op, const float* x, int64_t n);
float LogSumExpRow(const float* x, int64_t n);
void ReduceColumns(ReduceOp op, const float* x, float* y, int64_t n, int64_t stride, int64_t columns);
void LrnChannels(const LrnArgs& args);
void LrnLast(const LrnArgs& args, int64_t first, int64_t last, float* padded);

void MaxPoolRows(const PoolArgs& args);
void AveragePoolRows(const PoolArgs& args);
void MaxPoolLast(const PoolArgs& args);
void AveragePoolLast(const PoolArgs& args);
void ResampleRows(const ResampleTaps& taps, const float* x, int64_t in, float* y, int64_t rows);
void ResampleColumns(const ResampleTaps& taps, const float* x, float* y, int64_t columns);
void DoubleRows(const int32_t offset[4], const float weight[4], const float* x, int64_t in, float* y, int64_t rows,
                float* padded);

void Transpose(int element_bytes, const void* x, int64_t x_stride, void* y, int64_t y_stride, int64_t rows,
               int64_t columns);

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
