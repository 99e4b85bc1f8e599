// A bump arena: memory for what only running can size. Freed all at once; the chunks stay for the next run.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "memory/pool.h"

namespace ziggurat {

// Not thread-safe: one run's.
class Arena {
 public:
  explicit Arena(std::shared_ptr<Pool> pool) : pool_(std::move(pool)) {}

  // 64-byte aligned, valid until Reset(). Throws kOutOfMemory.
  std::byte* Allocate(size_t bytes) {
    bytes = (bytes + 63) / 64 * 64;
    while (current_ < chunks_.size() && offset_ + bytes > chunks_[current_].bytes()) ++current_, offset_ = 0;
    if (current_ == chunks_.size()) {
      chunks_.push_back(pool_->Allocate(std::max(bytes, kChunk)));
      offset_ = 0;
    }
    std::byte* data = chunks_[current_].data() + offset_;
    offset_ += bytes;
    return data;
  }
  void Reset() { current_ = 0, offset_ = 0; }
  void Free() { chunks_.clear(), Reset(); }
  size_t bytes() const {
    size_t sum = 0;
    for (const Buffer& chunk : chunks_) sum += chunk.bytes();
    return sum;
  }

 private:
  static constexpr size_t kChunk = 64 << 10;
  std::shared_ptr<Pool> pool_;
  std::vector<Buffer> chunks_;
  size_t current_ = 0, offset_ = 0;
};

}  // namespace ziggurat
