// What executes a step. The generator knows no model, only this.
#pragma once

#include <span>

#include "llm/step.h"

namespace ziggurat::llm {

class StepRunner {
 public:
  virtual ~StepRunner() = default;
  // Writes keys and values of all tokens to their slots and returns the logits, [rows, vocab], which stay valid and
  // the caller's to change until the next call. Throws; slots written so far are then void.
  virtual std::span<float> Run(const StepInputs& inputs) = 0;
  virtual void CopyBlock(int from, int to) = 0;
};

}  // namespace ziggurat::llm
