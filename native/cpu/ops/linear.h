// What the kernels of zig.Linear and of look-ups in its weights share.
#pragma once

#include "device/device.h"

namespace ziggurat::cpu {

// Whether the constant is also the weight of a zig.Linear: then its packed form serves both.
bool FeedsLinear(const Value& w);

// Throws kInvalidArgument naming the first id outside of [0, rows).
void CheckIds(const TensorView& ids, int64_t rows);

}  // namespace ziggurat::cpu
