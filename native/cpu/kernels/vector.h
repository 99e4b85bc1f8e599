// The vector family: element-wise, row-wise, moving, pooling and resizing kernels of one instruction set.
//
// All are leaf loops over the range they are given; native/cpu/ops/ decides on ranges and threads. What they compute
// for an element depends on that element's own inputs only (a row's result: on that row only), never on the range.
#pragma once

#include "cpu/kernels/vector_cast.h"
#include "cpu/kernels/vector_elementwise.h"
#include "cpu/kernels/vector_moves.h"
#include "cpu/kernels/vector_rows.h"
#include "cpu/kernels/vector_window.h"

namespace ziggurat::cpu {

struct VectorKernels {
  ElementwiseKernels elementwise;
  CastKernels cast;
  RowKernels rows;
  MoveKernels moves;
  WindowKernels windows;
};

}  // namespace ziggurat::cpu
