// The memory of an engine: what a run needs is found again, not faulted in again.
//
// Three pools share the work, by size: small blocks (to 32 KiB) in size classes with a cache for each thread, medium
// ones (to 16 MiB) cut off regions in pages of 4 KiB, large ones in huge pages, usually a region each. A fourth holds
// what can be moved (weights): one range of addresses that grows and shrinks at its end, free of blocks that would stay
// in the way. Free neighbours grow together at once. Memory that waits unused goes back to the system after two calls
// of Age().
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>

#include "memory/extents.h"
#include "memory/faults.h"
#include "memory/small_pool.h"

namespace ziggurat {

struct PoolStats {
  std::string_view pool;     // "small" | "medium" | "large" | "weights"
  uint64_t hits = 0;         // requests served from memory at hand
  uint64_t misses = 0;       // requests that the system had to back
  size_t used = 0;           // bytes handed out, slack included
  size_t cached = 0;         // bytes that wait with memory behind them
  size_t reserved = 0;       // used + cached
  size_t largest_free = 0;   // of what waits; of the small pool without blocks of spans in use, which serve their size
  double fragmentation = 0;  // 1 - largest_free / what waits: how far that is from one piece; 0 when nothing waits
  uint64_t defragmentations = 0;
  size_t moved = 0;     // bytes, by all of them
  size_t released = 0;  // bytes that have gone back to the system
};

using AllPoolStats = std::array<PoolStats, 4>;

class Pool;
struct PoolTier;

// A block of a pool: 64-byte aligned, of at least the bytes asked for; goes back when it dies. Keeps its pool alive,
// so that arrays handed to a caller outlive their engine. Contents are not initialised.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer() { Release(); }
  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  explicit operator bool() const { return data_ != nullptr; }
  void Release();

 private:
  friend class Pool;
  std::shared_ptr<Pool> pool_;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;          // of the class
  PoolTier* tier_ = nullptr;  // null: a small block
  Extent* extent_ = nullptr;
};

// A heap of extents, shared by threads.
struct PoolTier {
  mutable std::mutex mutex;
  ExtentHeap heap;
  uint64_t hits = 0, misses = 0;
  uint64_t defragmentations = 0;
  size_t moved = 0, released = 0;
};

// Thread-safe.
class Pool : public std::enable_shared_from_this<Pool> {
 public:
  // What is freed while `most_cached` bytes wait already goes back to the system. Where the whole would pass `most`,
  // what waits goes first. `faults` may be null. `plain`: every block is one of malloc's, to compare with.
  static std::shared_ptr<Pool> Make(size_t most_cached, size_t most = ~size_t{0},
                                    std::shared_ptr<Faults> faults = nullptr, bool plain = false) {
    return std::shared_ptr<Pool>(new Pool(most_cached, most, std::move(faults), plain));
  }
  // Throws kOutOfMemory with the numbers if the system refuses even when nothing waits. Zero bytes give a valid block.
  Buffer Allocate(size_t bytes);
  // The same for what whoever owns it lets MoveIntoHole and Slide move. Blocks too small to matter are not moved.
  Buffer AllocateMovable(size_t bytes);
  // Gives back what nobody has used since the call before the last. Called at a steady pace this is a time. Returns
  // the bytes.
  size_t Age();
  // Gives everything that waits back to the system. Returns the bytes.
  size_t Purge();
  // Move the block to where it leaves less scattered room, if there is such a place: a hole that it fits into, or down
  // over the hole before it. True if it was moved. Whoever owns the block sees to it that nobody uses it meanwhile.
  bool MoveIntoHole(Buffer& buffer);
  bool Slide(Buffer& buffer);
  // Counts a defragmentation of the pools of which blocks were moved since `before`.
  void CountDefragmentation(const AllPoolStats& before);
  AllPoolStats Stats() const;

 private:
  friend class Buffer;
  static constexpr size_t kLargestMedium = 16 << 20;
  static constexpr size_t kRange = size_t{64} << 30;  // of addresses; what does not fit gets regions of its own

  Pool(size_t most_cached, size_t most, std::shared_ptr<Faults> faults, bool plain);
  Buffer AllocateFrom(PoolTier& tier, size_t bytes);
  void MakeRoom(size_t region);
  std::byte* Map(size_t region, size_t wanted);
  std::byte* TakeSmall(int size_class);
  Extent* TakeExtent(PoolTier& tier, size_t bytes);
  bool Move(Buffer& buffer, Extent* (ExtentHeap::*how)(Extent*));
  size_t ReleaseAll(uint32_t age);
  void Free(std::byte* data, size_t bytes, PoolTier* tier, Extent* extent);
  size_t Mapped() const;
  std::array<PoolTier*, 3> Tiers() { return {&medium_, &large_, &weights_}; }

  const size_t most_cached_, most_;
  const std::shared_ptr<Faults> faults_;
  const bool plain_;
  mutable SmallPool small_;
  PoolTier medium_{.mutex = {}, .heap = ExtentHeap(4 << 10, 4 << 20, 64 << 20, kRange)};
  PoolTier large_{.mutex = {}, .heap = ExtentHeap(kHugePage, kHugePage, kHugePage)};
  PoolTier weights_{.mutex = {}, .heap = ExtentHeap(4 << 10, 4 << 20, 64 << 20, kRange)};
  std::atomic<uint32_t> age_{0};
  std::atomic<size_t> small_released_{0};
};

}  // namespace ziggurat
