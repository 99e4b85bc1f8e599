#include "cpu/kernels/vector.h"

#include "cpu/kernels/vector_parts.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {

extern const VectorKernels kVectorKernels;
const VectorKernels kVectorKernels = {
    .elementwise = {&FindUnary, &FindClassify, &FindBinary, &FindCompare, &FindSelect},
    .cast = {&FindCast},
    .rows = {&SoftmaxRows, &LogSoftmaxRows, &SoftmaxColumns, &LogSoftmaxColumns, &LayerNormRows, &RmsNormRows,
             &RowMoments, &ReduceRow, &LogSumExpRow, &ReduceColumns, &LrnChannels, &LrnLast},
    .moves = {&Transpose},
    .windows = {&MaxPoolRows, &AveragePoolRows, &MaxPoolLast, &AveragePoolLast, &ResampleRows, &ResampleColumns,
                &DoubleRows},
};

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
