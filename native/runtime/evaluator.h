// Computes single nodes at load with the CPU's kernels: what constant folding is handed.
#pragma once

#include "passes/pass.h"
#include "runtime/engine.h"

namespace ziggurat {

// The engine must outlive it.
Evaluator MakeEvaluator(Engine& engine);

}  // namespace ziggurat
