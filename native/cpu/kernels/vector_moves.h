// Moving elements by their size in bytes. Copies of contiguous memory are memcpy; what is here needs registers.
#pragma once

#include <cstdint>

namespace ziggurat::cpu {

struct MoveKernels {
  // y[c * y_stride + r] = x[r * x_stride + c], r < rows, c < columns; strides in elements of 1, 2, 4 or 8 bytes.
  void (*transpose)(int element_bytes, const void* x, int64_t x_stride, void* y, int64_t y_stride, int64_t rows,
                    int64_t columns);
};

}  // namespace ziggurat::cpu
