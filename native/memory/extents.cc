#include "memory/extents.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"

namespace ziggurat {

ExtentHeap::~ExtentHeap() {
  for (const auto& region : regions_) UnmapPages(region->data, region->bytes);
}

// Below sixteen granules a list a size; then sixteen lists a power of two.
int ExtentHeap::ListOf(size_t granules) {
  if (granules < kSteps) return static_cast<int>(granules);
  const int power = std::bit_width(granules) - 1;  // >= 4
  const int step = static_cast<int>(granules >> (power - 4)) - kSteps;
  return (power - 3) * kSteps + step;
}

Extent* ExtentHeap::NewExtent() {
  if (!spare_) {
    extents_.push_back(std::make_unique<Extent>());
    return extents_.back().get();
  }
  Extent* extent = spare_;
  spare_ = extent->newer;
  *extent = {};
  return extent;
}

void ExtentHeap::Insert(Extent* extent) {
  const int list = ListOf(extent->bytes / granule_);
  extent->older = nullptr;
  extent->newer = lists_[list];
  if (extent->newer) extent->newer->older = extent;
  lists_[list] = extent;
  steps_[list / kSteps] |= 1u << (list % kSteps);
  powers_ |= uint64_t{1} << (list / kSteps);
  cached_ += extent->resident;
}

void ExtentHeap::Remove(Extent* extent) {
  const int list = ListOf(extent->bytes / granule_);
  if (extent->newer) extent->newer->older = extent->older;
  if (extent->older)
    extent->older->newer = extent->newer;
  else
    lists_[list] = extent->newer;
  if (!lists_[list]) {
    steps_[list / kSteps] &= ~(1u << (list % kSteps));
    if (!steps_[list / kSteps]) powers_ &= ~(uint64_t{1} << (list / kSteps));
  }
  extent->newer = extent->older = nullptr;
  cached_ -= extent->resident;
}

// The list of the size itself may hold smaller ones, so a few of it are looked at; every later list fits.
Extent* ExtentHeap::Find(size_t bytes) const {
  int list = ListOf(bytes / granule_);
  int looks = 8;
  for (Extent* extent = lists_[list]; extent && looks; extent = extent->newer, --looks)
    if (extent->bytes >= bytes) return extent;
  ++list;
  int power = list / kSteps;
  uint32_t steps = power < kPowers ? steps_[power] & (~0u << (list % kSteps)) : 0;
  if (!steps) {
    const uint64_t powers = power + 1 < 64 ? powers_ & (~uint64_t{0} << (power + 1)) : 0;
    if (!powers) return nullptr;
    power = std::countr_zero(powers);
    steps = steps_[power];
  }
  return lists_[power * kSteps + std::countr_zero(steps)];
}

// Shortens a taken extent to `bytes`; the rest becomes free. What has memory behind it stays in front.
void ExtentHeap::Cut(Extent* extent, size_t bytes) {
  const size_t resident = std::min(extent->resident, bytes);
  if (extent->bytes > bytes) {
    Extent* rest = NewExtent();
    rest->data = extent->data + bytes;
    rest->bytes = extent->bytes - bytes;
    rest->resident = extent->resident - resident;
    rest->region = extent->region;
    rest->freed_at = extent->freed_at;
    rest->before = extent;
    rest->after = extent->after;
    if (rest->after) rest->after->before = rest;
    extent->after = rest;
    extent->bytes = bytes;
    Insert(rest);
  }
  extent->resident = resident;
}

Extent* ExtentHeap::Take(size_t bytes, bool& warm) {
  bytes = Rounded(std::max<size_t>(bytes, 1));
  Extent* extent = Find(bytes);
  if (!extent) return nullptr;
  if (!spare_) {  // what may throw comes first
    Extent* fresh = NewExtent();
    fresh->newer = spare_;
    spare_ = fresh;
  }
  Remove(extent);
  Cut(extent, bytes);
  warm = extent->resident == bytes;
  extent->taken = true;
  extent->region->live += bytes;
  used_ += bytes;
  PermitAccess(extent->data, bytes);
  return extent;
}

size_t ExtentHeap::RegionBytes(size_t bytes) const {
  const size_t grown = std::clamp(mapped_ / 4, region_, most_region_);
  return (std::max(bytes, grown) + kHugePage - 1) / kHugePage * kHugePage;
}

void ExtentHeap::Add(std::byte* data, size_t bytes) {
  Extent* extent = nullptr;
  try {
    regions_.push_back(std::make_unique<Region>());
    extent = NewExtent();
  } catch (...) {
    UnmapPages(data, bytes);
    throw;
  }
  Region* region = regions_.back().get();
  *region = {data, bytes, 0, extent};
  extent->data = data, extent->bytes = bytes, extent->region = region, extent->freed_at = age_;
  mapped_ += bytes;
  ForbidAccess(data, bytes);
  Insert(extent);
}

// Takes the free extent behind a free one in.
void ExtentHeap::Absorb(Extent* extent) {
  Extent* gone = extent->after;
  // Memory behind the first bytes only is all that is counted: a gap in the middle is found by touching it.
  extent->resident += gone->resident;
  extent->bytes += gone->bytes;
  extent->freed_at = std::max(extent->freed_at, gone->freed_at);
  extent->after = gone->after;
  if (extent->after) extent->after->before = extent;
  gone->newer = spare_;
  spare_ = gone;
}

void ExtentHeap::Give(Extent* extent) {
  if (!extent->taken) throw Error(Code::kInternal, "a block of memory was given back twice");
  extent->taken = false;
  extent->region->live -= extent->bytes;
  used_ -= extent->bytes;
  extent->resident = extent->bytes;
  extent->freed_at = age_;
  ForbidAccess(extent->data, extent->bytes);
  if (Extent* after = extent->after; after && !after->taken) {
    Remove(after);
    Absorb(extent);
  }
  if (Extent* before = extent->before; before && !before->taken) {
    Remove(before);
    Absorb(before);
    extent = before;
  }
  Insert(extent);
}

void ExtentHeap::DropRegion(Region* region) {
  Extent* extent = region->first;
  extent->newer = spare_;
  spare_ = extent;
  UnmapPages(region->data, region->bytes);
  mapped_ -= region->bytes;
  std::erase_if(regions_, [&](const auto& one) { return one.get() == region; });
}

// Of a free extent: the whole region where it is one, else the huge pages that lie inside altogether; taking smaller
// ones would break what the system has put together.
size_t ExtentHeap::ReleaseExtent(Extent* extent) {
  const size_t resident = extent->resident;
  if (extent->bytes == extent->region->bytes) {
    Remove(extent);
    DropRegion(extent->region);
    return resident;
  }
  const size_t start = (extent->data - extent->region->data + kHugePage - 1) / kHugePage * kHugePage;
  const size_t end = (extent->data + extent->bytes - extent->region->data) / kHugePage * kHugePage;
  if (start >= end) return 0;
  Remove(extent);
  DiscardPages(extent->region->data + start, end - start);
  extent->resident = std::min(resident, extent->bytes - (end - start));
  Insert(extent);
  return resident - extent->resident;
}

size_t ExtentHeap::Release(uint32_t age) {
  size_t released = 0;
  std::vector<Extent*> idle;
  for (Extent* list : lists_)
    for (Extent* extent = list; extent; extent = extent->newer)
      if (extent->freed_at < age && (extent->resident || extent->bytes == extent->region->bytes))
        idle.push_back(extent);
  for (Extent* extent : idle) released += ReleaseExtent(extent);
  return released;
}

// A free extent with room, in a region with more in use; of equally full ones the lower.
Extent* ExtentHeap::FindFuller(const Extent& extent) const {
  Extent* best = nullptr;
  const auto fuller = [](const Region& a, const Region& b) {
    return a.live != b.live ? a.live > b.live : a.data < b.data;
  };
  for (int list = ListOf(extent.bytes / granule_); list < kPowers * kSteps; ++list)
    for (Extent* one = lists_[list]; one; one = one->newer)
      if (one->bytes >= extent.bytes && fuller(*one->region, *extent.region))
        if (!best || fuller(*one->region, *best->region)) best = one;
  return best;
}

Extent* ExtentHeap::Improve(Extent* extent) {
  ZIGGURAT_CHECK(extent->taken);
  Extent* place = FindFuller(*extent);
  if (!place) return extent->before && !extent->before->taken ? Slide(extent) : nullptr;
  if (!spare_) {
    Extent* fresh = NewExtent();
    fresh->newer = spare_;
    spare_ = fresh;
  }
  Remove(place);
  Cut(place, extent->bytes);
  place->taken = true;
  place->region->live += place->bytes;
  used_ += place->bytes;
  PermitAccess(place->data, place->bytes);
  std::memcpy(place->data, extent->data, extent->bytes);
  Give(extent);
  return place;
}

// The extent and the hole before it change places.
Extent* ExtentHeap::Slide(Extent* extent) {
  Extent* hole = extent->before;
  Remove(hole);
  PermitAccess(hole->data, hole->bytes);
  std::memmove(hole->data, extent->data, extent->bytes);
  extent->data = hole->data;
  hole->data = extent->data + extent->bytes;
  hole->resident = hole->bytes;
  hole->freed_at = age_;
  extent->before = hole->before;
  (extent->before ? extent->before->after : extent->region->first) = extent;
  hole->after = extent->after;
  if (hole->after) hole->after->before = hole;
  hole->before = extent;
  extent->after = hole;
  ForbidAccess(hole->data, hole->bytes);
  if (hole->after && !hole->after->taken) {
    Remove(hole->after);
    Absorb(hole);
  }
  Insert(hole);
  return extent;
}

HeapStats ExtentHeap::Stats() const {
  HeapStats stats{used_, cached_, 0, mapped_};
  for (Extent* list : lists_)
    for (const Extent* extent = list; extent; extent = extent->newer)
      stats.largest_free = std::max(stats.largest_free, extent->resident);
  return stats;
}

}  // namespace ziggurat
