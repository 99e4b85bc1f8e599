// The vector family: what the element-wise, row-wise, moving, pooling and resizing kernels take.
#pragma once

namespace ziggurat::cpu {

struct VectorKernels {};

}  // namespace ziggurat::cpu
