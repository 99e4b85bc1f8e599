#include "memory/extents.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <tuple>

#include "base/error.h"

namespace ziggurat {

ExtentHeap::~ExtentHeap() {
  for (const auto& region : regions_) {
    if (region.get() != range_) {
      UnmapPages(region->data, region->bytes);
      continue;
    }
    DecommitPages(region->data, region->bytes);
    ReleaseAddresses(region->data, range_bytes_);
  }
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

void ExtentHeap::Retire(Extent* extent) {
  extent->newer = spare_;
  spare_ = extent;
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
    (rest->after ? rest->after->before : rest->region->last) = rest;
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
  if (!spare_) Retire(NewExtent());  // what may throw comes first
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
  *region = {data, bytes, 0, extent, extent};
  extent->data = data, extent->bytes = bytes, extent->region = region, extent->freed_at = age_;
  mapped_ += bytes;
  ForbidAccess(data, bytes);
  Insert(extent);
}

bool ExtentHeap::Grow(size_t bytes) {
  if (!range_bytes_) return false;
  if (!range_) {
    auto region = std::make_unique<Region>();
    regions_.reserve(regions_.size() + 1);
    region->data = ReserveAddresses(range_bytes_);
    if (!region->data) {
      range_bytes_ = 0;
      return false;
    }
    range_ = region.get();
    regions_.push_back(std::move(region));
  }
  const size_t grown = RegionBytes(bytes);
  if (grown > range_bytes_ - range_->bytes) return false;
  Extent* extent = NewExtent();
  std::byte* data = range_->data + range_->bytes;
  if (!CommitPages(data, grown)) {
    Retire(extent);
    return false;
  }
  extent->data = data, extent->bytes = grown, extent->region = range_, extent->freed_at = age_;
  extent->before = range_->last;
  (range_->last ? range_->last->after : range_->first) = extent;
  range_->last = extent;
  range_->bytes += grown;
  mapped_ += grown;
  ForbidAccess(data, grown);
  if (Extent* before = extent->before; before && !before->taken) {
    Remove(before);
    Absorb(before);
    extent = before;
  }
  Insert(extent);
  return true;
}

// Takes the free extent behind a free one in.
void ExtentHeap::Absorb(Extent* extent) {
  Extent* gone = extent->after;
  // Memory behind the first bytes only is all that is counted: a gap in the middle is found by touching it.
  extent->resident += gone->resident;
  extent->bytes += gone->bytes;
  extent->freed_at = std::max(extent->freed_at, gone->freed_at);
  extent->after = gone->after;
  (extent->after ? extent->after->before : extent->region->last) = extent;
  Retire(gone);
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
  Retire(region->first);
  UnmapPages(region->data, region->bytes);
  mapped_ -= region->bytes;
  std::erase_if(regions_, [&](const auto& one) { return one.get() == region; });
}

// The free extent at the end of the range, but for what shares a huge page with the block before it.
size_t ExtentHeap::ShrinkRange(Extent* last) {
  const size_t resident = last->resident;
  const size_t start = (last->data - range_->data + kHugePage - 1) / kHugePage * kHugePage;
  const size_t gone = range_->bytes - start;
  if (!gone) return 0;
  Remove(last);
  DecommitPages(range_->data + start, gone);
  last->bytes -= gone;
  last->resident = std::min(resident, last->bytes);
  range_->bytes = start;
  mapped_ -= gone;
  const size_t released = resident - last->resident;
  if (last->bytes) {
    Insert(last);
  } else {
    range_->last = last->before;
    (last->before ? last->before->after : range_->first) = nullptr;
    Retire(last);
  }
  return released;
}

// Of a free extent: the whole region where it is one, else the huge pages that lie inside altogether; taking smaller
// ones would break what the system has put together.
size_t ExtentHeap::ReleaseExtent(Extent* extent) {
  if (EndsRange(*extent)) return ShrinkRange(extent);
  const size_t resident = extent->resident;
  if (extent->region != range_ && extent->bytes == extent->region->bytes) {
    Remove(extent);
    DropRegion(extent->region);
    return resident;
  }
  return DiscardExtent(extent, kHugePage);
}

// The pages of that size that lie inside altogether.
size_t ExtentHeap::DiscardExtent(Extent* extent, size_t page) {
  const size_t resident = extent->resident;
  const size_t start = (extent->data - extent->region->data + page - 1) / page * page;
  const size_t end = (extent->data + extent->bytes - extent->region->data) / page * page;
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
      if (extent->freed_at < age && (extent->resident || EndsRange(*extent) || extent->bytes == extent->region->bytes))
        idle.push_back(extent);
  for (Extent* extent : idle) released += ReleaseExtent(extent);
  return released;
}

size_t ExtentHeap::Trim(double share) {
  std::vector<Extent*> waiting;
  for (Extent* list : lists_)
    for (Extent* extent = list; extent; extent = extent->newer)
      if (extent->resident) waiting.push_back(extent);
  std::sort(waiting.begin(), waiting.end(), [](const Extent* a, const Extent* b) {
    return std::tie(a->resident, a->data) < std::tie(b->resident, b->data);
  });
  size_t released = 0;
  for (Extent* extent : waiting) {
    const double scattered = static_cast<double>(cached_ - waiting.back()->resident);
    if (scattered <= share * static_cast<double>(cached_)) break;
    released += DiscardExtent(extent, granule_);
  }
  return released;
}

// A free extent with room, in a region with more in use or further down in the same; the best of them in that order.
Extent* ExtentHeap::FindBetter(const Extent& extent) const {
  const auto better = [](const Extent& a, const Extent& b) {
    if (a.region->live != b.region->live) return a.region->live > b.region->live;
    return a.data < b.data;
  };
  const Extent* best = &extent;
  Extent* found = nullptr;
  for (int list = ListOf(extent.bytes / granule_); list < kPowers * kSteps; ++list)
    for (Extent* one = lists_[list]; one; one = one->newer)
      if (one->bytes >= extent.bytes && better(*one, *best)) best = found = one;
  return found;
}

Extent* ExtentHeap::MoveIntoHole(Extent* extent) {
  ZIGGURAT_CHECK(extent->taken);
  Extent* place = FindBetter(*extent);
  if (!place) return nullptr;
  if (!spare_) Retire(NewExtent());
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
  ZIGGURAT_CHECK(extent->taken);
  Extent* hole = extent->before;
  if (!hole || hole->taken) return nullptr;
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
  (hole->after ? hole->after->before : hole->region->last) = hole;
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
