// The memory of an engine: what a run needs is found again, not faulted in again.
//
// Small blocks (to 32 KiB) come in size classes with a cache for each thread, those to 16 MiB in pages of 4 KiB, large
// ones in huge pages, usually a region each. Between small and large, blocks are kept apart by how long they live, each
// kind in a range of addresses that grows and shrinks at its end: what ends with a run is one piece again after it;
// what callers hold stays where it is; weights, of any size, can be moved. Free neighbours grow together at once.
// Memory that waits unused goes back to the system after two calls of Age().
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

// Until when a block is needed: the end of a run; when whoever holds it lets go (results, caches); or the end of a
// model, and its owner lets MoveIntoHole and Slide move it before. Small blocks are not told apart.
enum class Life : uint8_t { kRun, kHeld, kWeight };

// What is behind blocks. All but the pool are there to compare with.
enum class Backing : uint8_t {
  kPool,
  kMalloc,
  kSystem,  // each block is mapped and unmapped
};

struct PoolStats {
  std::string_view pool;     // "small" | "runs" | "held" | "large" | "weights"
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

// In this order.
inline constexpr int kSmallPool = 0, kRunPool = 1, kHeldPool = 2, kLargePool = 3, kWeightPool = 4, kPools = 5;
using AllPoolStats = std::array<PoolStats, kPools>;

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
  // what waits goes first. `faults` may be null.
  static std::shared_ptr<Pool> Make(size_t most_cached, size_t most = ~size_t{0},
                                    std::shared_ptr<Faults> faults = nullptr, Backing backing = Backing::kPool) {
    return std::shared_ptr<Pool>(new Pool(most_cached, most, std::move(faults), backing));
  }
  // Throws kOutOfMemory with the numbers if the system refuses even when nothing waits. Zero bytes give a valid block.
  Buffer Allocate(size_t bytes, Life life = Life::kRun);
  // Gives back what nobody has used since the call before the last. Called at a steady pace this is a time. Returns
  // the bytes.
  size_t Age();
  // Gives everything that waits back to the system. Returns the bytes.
  size_t Purge();
  // Gives scattered pieces back (ExtentHeap::Trim) where more than `share` of what waits in a pool lies outside of its
  // largest piece. Returns the bytes.
  size_t Trim(double share);
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

  Pool(size_t most_cached, size_t most, std::shared_ptr<Faults> faults, Backing backing);
  PoolTier& TierOf(size_t bytes, Life life);
  std::byte* TakePlain(size_t bytes);
  void MakeRoom(size_t region);
  std::byte* Map(size_t region, size_t wanted);
  std::byte* TakeSmall(int size_class);
  Extent* TakeExtent(PoolTier& tier, size_t bytes);
  bool Move(Buffer& buffer, Extent* (ExtentHeap::*how)(Extent*));
  size_t ReleaseAll(uint32_t age);
  void Free(std::byte* data, size_t bytes, PoolTier* tier, Extent* extent);
  size_t Mapped() const;

  const size_t most_cached_, most_;
  const std::shared_ptr<Faults> faults_;
  const Backing backing_;
  mutable SmallPool small_;
  // In the order of the statistics, which begin with the small pool.
  std::array<PoolTier, kPools - 1> tiers_{{{.mutex = {}, .heap = ExtentHeap(4 << 10, 4 << 20, 64 << 20, kRange)},
                                           {.mutex = {}, .heap = ExtentHeap(4 << 10, 4 << 20, 64 << 20, kRange)},
                                           {.mutex = {}, .heap = ExtentHeap(kHugePage, kHugePage, kHugePage)},
                                           {.mutex = {}, .heap = ExtentHeap(4 << 10, 4 << 20, 64 << 20, kRange)}}};
  std::atomic<uint32_t> age_{0};
  std::atomic<size_t> small_released_{0};
};

}  // namespace ziggurat
