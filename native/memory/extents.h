// A heap of extents: pieces of regions that are cut off what is free and grow together again when they come back.
//
// Two-level segregated fit: free extents wait in lists by size, sixteen lists a power of two, so that finding one takes
// a few instructions and wastes at most a sixteenth of it. What an extent is lies beside the memory, not in it: idle
// memory can be given back to the system without losing count.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "memory/pages.h"

namespace ziggurat {

class ExtentHeap;

struct Region;

struct Extent {
  std::byte* data = nullptr;
  size_t bytes = 0;
  size_t resident = 0;  // of a free one: bytes that memory is behind, the first ones
  Region* region = nullptr;
  Extent *before = nullptr, *after = nullptr;  // neighbours in the region
  Extent *newer = nullptr, *older = nullptr;   // of a free one: its list
  uint32_t freed_at = 0;                       // the heap's age then
  bool taken = false;
};

struct Region {
  std::byte* data = nullptr;
  size_t bytes = 0;
  size_t live = 0;  // taken
  Extent *first = nullptr, *last = nullptr;
};

struct HeapStats {
  size_t used = 0;          // taken, rounded up to granules
  size_t cached = 0;        // free, with memory behind it
  size_t largest_free = 0;  // of one piece of that
  size_t mapped = 0;        // addresses
};

// Not thread-safe. Extents keep their address in memory (the struct's) while taken.
class ExtentHeap {
 public:
  // Sizes are rounded up to `granule`, a power of two. A region has at least `region` bytes, and grows with the heap to
  // `most_region`, so that a large heap has few. With `range`, addresses of that many bytes are set aside for one
  // region that grows in place, and whose end goes back: moving its blocks together leaves one free piece.
  ExtentHeap(size_t granule, size_t region, size_t most_region, size_t range = 0)
      : granule_(granule), region_(region), most_region_(most_region), range_bytes_(range) {}
  ~ExtentHeap();
  ExtentHeap(const ExtentHeap&) = delete;
  ExtentHeap& operator=(const ExtentHeap&) = delete;

  // A free extent of at least `bytes`, cut to size, or null where none has room. `warm`: all of it has memory behind
  // it.
  Extent* Take(size_t bytes, bool& warm);
  // Extends the range by RegionBytes(bytes); false where there is none or it cannot grow: then a region is added.
  bool Grow(size_t bytes);
  // Takes in a region that MapPages gave, of RegionBytes(bytes).
  void Add(std::byte* data, size_t bytes);
  size_t RegionBytes(size_t bytes) const;
  // Throws kInternal for an extent that is not taken.
  void Give(Extent* extent);
  // Gives memory back to the system: all that has been free since before `age`; a region that is free as a whole goes
  // altogether, elsewhere whole huge pages do. Returns the bytes.
  size_t Release(uint32_t age);
  // Gives free pieces back page by page, the smallest first, until no more than `share` of what waits lies outside the
  // largest. Breaks the huge pages that such a piece shares with its neighbours. Returns the bytes.
  size_t Trim(double share);
  // What is freed from now on is of this age.
  void SetAge(uint32_t age) { age_ = age; }
  // Two ways to move a taken extent to where it leaves less scattered room: into a hole of a fuller region or further
  // down in its own, and down over the hole before it. Both return the extent that has the contents now, or null where
  // there is no such place. Nobody may use the memory meanwhile.
  Extent* MoveIntoHole(Extent* extent);
  Extent* Slide(Extent* extent);
  size_t cached() const { return cached_; }
  HeapStats Stats() const;

 private:
  static constexpr int kSteps = 16, kPowers = 48;

  static int ListOf(size_t granules);
  size_t Rounded(size_t bytes) const { return (bytes + granule_ - 1) / granule_ * granule_; }
  Extent* NewExtent();
  void Insert(Extent* extent);
  void Remove(Extent* extent);
  Extent* Find(size_t bytes) const;
  Extent* FindBetter(const Extent& extent) const;
  void Cut(Extent* extent, size_t bytes);
  void Absorb(Extent* extent);
  bool EndsRange(const Extent& extent) const { return extent.region == range_ && !extent.after; }
  size_t ReleaseExtent(Extent* extent);
  size_t DiscardExtent(Extent* extent, size_t page);
  size_t ShrinkRange(Extent* last);
  void DropRegion(Region* region);
  void Retire(Extent* extent);

  const size_t granule_, region_, most_region_;
  size_t range_bytes_;       // 0: none was asked for, or the system refused
  Region* range_ = nullptr;  // one of regions_, whose bytes are those committed
  uint32_t age_ = 0;
  size_t used_ = 0, cached_ = 0, mapped_ = 0;
  uint64_t powers_ = 0;                    // which powers of two have a list that is not empty
  std::array<uint32_t, kPowers> steps_{};  // which lists of a power are not
  std::array<Extent*, kPowers * kSteps> lists_{};
  std::vector<std::unique_ptr<Region>> regions_;
  std::vector<std::unique_ptr<Extent>> extents_;
  Extent* spare_ = nullptr;
};

}  // namespace ziggurat
