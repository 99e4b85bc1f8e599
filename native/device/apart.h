// Kernels whose tensors may be columns of wider ones: rows along the last axis then do not lie one after the other. A
// pitch counts the elements from the start of one row to the start of the next; it is set once, before the first run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ziggurat {

// A kernel with one output that may be columns of a wider tensor.
class WritesApart {
 public:
  // False where this node's output must lie in one piece after all.
  virtual bool GivesApart() const { return true; }
  void SetRowPitch(int64_t elements) { row_pitch_ = elements; }

 protected:
  ~WritesApart() = default;
  int64_t RowPitch(int64_t dense) const { return row_pitch_ ? row_pitch_ : dense; }

 private:
  int64_t row_pitch_ = 0;  // 0: dense
};

// A kernel with inputs that may be columns of wider tensors.
class ReadsApart {
 public:
  virtual bool TakesApart(int input) const = 0;
  void SetInputPitch(int input, int64_t elements) {
    const auto index = static_cast<size_t>(input);
    if (index >= pitches_.size()) pitches_.resize(index + 1, 0);
    pitches_[index] = elements;
  }

 protected:
  ~ReadsApart() = default;
  int64_t InputPitch(size_t input, int64_t dense) const {
    return input < pitches_.size() && pitches_[input] ? pitches_[input] : dense;
  }

 private:
  std::vector<int64_t> pitches_;  // by input, as far as set; 0: dense
};

}  // namespace ziggurat
