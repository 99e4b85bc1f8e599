// Kernels that can write their result into a wider tensor.
#pragma once

#include <cstdint>

namespace ziggurat {

// A kernel with one output whose rows along the last axis need not lie one after the other.
class WritesApart {
 public:
  // Elements from the start of one row to the start of the next; asked for once, before the first run.
  void SetRowPitch(int64_t elements) { row_pitch_ = elements; }

 protected:
  ~WritesApart() = default;
  int64_t RowPitch(int64_t dense) const { return row_pitch_ ? row_pitch_ : dense; }

 private:
  int64_t row_pitch_ = 0;  // 0: dense
};

}  // namespace ziggurat
