// A bump arena: memory for what only running can size. Freed all at once; the chunks stay for the next use.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "base/error.h"
#include "memory/budget.h"
#include "memory/pool.h"

namespace ziggurat {

// Not thread-safe: one run's. Its chunks count against the budget.
class Arena {
 public:
  Arena(std::shared_ptr<Pool> pool, std::shared_ptr<Budget> budget)
      : pool_(std::move(pool)), budget_(std::move(budget)) {}

  // 64-byte aligned, valid until Reset(). Throws kOutOfMemory.
  std::byte* Allocate(size_t bytes) {
    if (bytes > (size_t{1} << 60)) throw Error(Code::kOutOfMemory, "cannot allocate ", FormatBytes(bytes));
    bytes = (bytes + 63) / 64 * 64;
    while (current_ < chunks_.size() && offset_ + bytes > chunks_[current_].buffer.bytes()) ++current_, offset_ = 0;
    if (current_ == chunks_.size()) {
      const size_t wanted = std::max(bytes, kChunk);
      Reservation reservation = budget_->Reserve(wanted, "a run");
      chunks_.push_back({std::move(reservation), pool_->Allocate(wanted)});
      offset_ = 0;
    }
    std::byte* data = chunks_[current_].buffer.data() + offset_;
    offset_ += bytes;
    return data;
  }
  void Reset() { current_ = 0, offset_ = 0; }
  size_t bytes() const {
    size_t sum = 0;
    for (const Chunk& chunk : chunks_) sum += chunk.buffer.bytes();
    return sum;
  }

 private:
  static constexpr size_t kChunk = 64 << 10;
  struct Chunk {
    Reservation reservation;
    Buffer buffer;
  };
  std::shared_ptr<Pool> pool_;
  std::shared_ptr<Budget> budget_;
  std::vector<Chunk> chunks_;
  size_t current_ = 0, offset_ = 0;
};

}  // namespace ziggurat
