// Small blocks: spans of 256 KiB, each cut into blocks of one size, with a cache for each thread before them.
//
// A thread finds its cache by a hash of its id among sixteen, so that nothing is kept in the thread: caches are the
// pool's, bounded, and emptied when nobody has used them for a while, whether their thread lives on or not. Threads
// that meet in one do not wait: whoever finds a cache busy takes the next, or goes to the spans.
#pragma once

#include <array>
#include <atomic>
#include <mutex>

#include "memory/extents.h"
#include "memory/size_class.h"

namespace ziggurat {

struct SmallStats {
  uint64_t hits = 0, misses = 0;
  size_t used = 0;        // blocks handed out
  size_t cached = 0;      // blocks that wait, in caches, in spans and in whole spans
  size_t free_spans = 0;  // of that, bytes in spans that are not cut
  size_t largest_free = 0;
};

// Thread-safe.
class SmallPool {
 public:
  // A block of a class. Null where the system must be asked first: Grow, or Add a region of kHugePage where that fails.
  std::byte* Take(int size_class);
  bool Grow();
  void Add(std::byte* region);
  // Throws kInternal for what is not a block that is out, as far as it is seen: always once it comes to the spans,
  // at once under AddressSanitizer.
  void Give(std::byte* data, int size_class);
  // Caches that nobody has used since before `age` are emptied; memory free since then goes back to the system.
  size_t Release(uint32_t age);
  // ExtentHeap::Trim of the spans that are not cut.
  size_t Trim(double share);
  void SetAge(uint32_t age);
  SmallStats Stats();

  // What the caches of all threads may hold together.
  static constexpr size_t kMostCached = size_t{16} * 256 << 10;

 private:
  static constexpr size_t kSpan = 256 << 10;
  static constexpr size_t kRange = size_t{16} << 30;  // of addresses
  static constexpr int kCaches = 16, kMostBlocks = 16;
  static constexpr size_t kCacheBytes = 256 << 10;

  struct Span;
  struct alignas(64) Cache {
    std::atomic<bool> busy{false};
    uint32_t used_at = 0;
    size_t bytes = 0;
    uint64_t hits = 0;
    int64_t out = 0;  // bytes handed out here less those that came back here
    std::array<uint8_t, kSmallClasses> counts{};
    std::array<std::array<std::byte*, kMostBlocks>, kSmallClasses> blocks{};

    bool TryLock() { return !busy.exchange(true, std::memory_order_acquire); }
    void Lock();
    void Unlock() { busy.store(false, std::memory_order_release); }
  };

  static int Capacity(int size_class);
  Cache* LockCache();
  std::byte* Refill(Cache& cache, int size_class);
  void Flush(Cache& cache, int size_class, int keep);
  std::byte* TakeFromSpan(int size_class);
  void GiveToSpan(std::byte* data, int size_class);
  Span* NewSpan(int size_class);
  void CountMiss();

  std::array<Cache, kCaches> caches_;
  std::atomic<uint32_t> age_{0};

  std::mutex mutex_;  // guards what follows; taken after a cache, never before one
  ExtentHeap heap_{kSpan, kHugePage, kHugePage, kRange};
  std::array<Span*, kSmallClasses> partial_{};  // spans with a free block, by class
  uint64_t hits_ = 0, misses_ = 0;
  int64_t out_ = 0;
  size_t waiting_ = 0;  // bytes of free blocks in spans
};

}  // namespace ziggurat
