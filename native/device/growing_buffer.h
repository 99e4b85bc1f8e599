// A Resource that grows along one axis: rows appended step after step, as a KV cache is.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "device/device.h"

namespace ziggurat {

// float32 [heads, length, width], a head's rows lying together. The first append sets heads and width.
class GrowingBuffer : public Resource {
 public:
  std::string_view kind() const override { return "growing_buffer"; }
  int64_t length() const { return length_; }
  int64_t heads() const { return heads_; }
  int64_t width() const { return width_; }
  const float* Head(int64_t head) const { return data_.data() + head * capacity_ * width_; }

  // Appends `rows` rows to every head: x is [heads, rows, width]. Throws kInvalidArgument for another heads or width.
  void Append(const float* x, int64_t heads, int64_t rows, int64_t width) {
    if (length_ == 0) {
      heads_ = heads;
      width_ = width;
    }
    if (heads != heads_ || width != width_)
      throw Error(Code::kInvalidArgument, "the buffer holds ", heads_, " heads of width ", width_, ", got ", heads,
                  " of ", width);
    if (length_ + rows > capacity_) Grow(length_ + rows);
    for (int64_t head = 0; head < heads; ++head)
      if (rows * width)
        std::memcpy(data_.data() + (head * capacity_ + length_) * width, x + head * rows * width,
                    static_cast<size_t>(rows * width) * sizeof(float));
    length_ += rows;
  }

  int64_t Checkpoint() const override { return length_; }
  void Restore(int64_t checkpoint) override { length_ = std::min(length_, checkpoint); }

 private:
  void Grow(int64_t least) {
    const int64_t capacity = std::max<int64_t>({least, capacity_ * 2, 64});
    std::vector<float> data(static_cast<size_t>(heads_ * capacity * width_));
    for (int64_t head = 0; head < heads_; ++head)
      std::copy_n(Head(head), length_ * width_, data.data() + head * capacity * width_);
    data_ = std::move(data);
    capacity_ = capacity;
  }

  std::vector<float> data_;
  int64_t heads_ = 0, width_ = 0, length_ = 0, capacity_ = 0;
};

}  // namespace ziggurat
