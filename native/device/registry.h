// The devices of an engine. Each device folder offers one maker; the engine's composition root (runtime/engine.cc)
// is the only place that lists them.
#pragma once

#include <memory>

#include "device/device.h"

namespace ziggurat {

// Scalar kernels of every primitive op, for all dtypes. Shared by the reference device and, for rare ops and dtypes,
// the CPU device. Null if the op has none (it has an expansion instead).
std::unique_ptr<Kernel> FindPlainKernel(KernelSite& site);

// The reference device: plain kernels only, on a thread of its own, late on purpose, in memory of its own.
std::unique_ptr<Device> MakeReferenceDevice();

}  // namespace ziggurat
