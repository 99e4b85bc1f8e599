#include "memory/pool.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/error.h"
#include "memory/budget.h"

namespace ziggurat {
namespace {

size_t WholePages(size_t bytes) { return (bytes + 4095) / 4096 * 4096; }

}  // namespace

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this != &other) {
    Release();
    pool_ = std::move(other.pool_);
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    tier_ = std::exchange(other.tier_, nullptr);
    extent_ = std::exchange(other.extent_, nullptr);
  }
  return *this;
}

void Buffer::Release() {
  if (data_) pool_->Free(data_, bytes_, tier_, extent_);
  data_ = nullptr, bytes_ = 0, tier_ = nullptr, extent_ = nullptr;
  pool_.reset();
}

Pool::Pool(size_t most_cached, size_t most, std::shared_ptr<Faults> faults, Backing backing)
    : most_cached_(most_cached), most_(most), faults_(std::move(faults)), backing_(backing) {}

PoolTier& Pool::TierOf(size_t bytes, Life life) {
  if (life == Life::kWeight) return tiers_[kWeightPool - 1];
  if (bytes > kLargestMedium) return tiers_[kLargePool - 1];
  return tiers_[(life == Life::kRun ? kRunPool : kHeldPool) - 1];
}

std::byte* Pool::TakePlain(size_t bytes) {
  std::byte* data = backing_ == Backing::kSystem ? MapPages(WholePages(bytes))
                                                 : static_cast<std::byte*>(std::aligned_alloc(64, bytes));
  if (!data) throw Error(Code::kOutOfMemory, "the system refused ", FormatBytes(bytes));
  return data;
}

Buffer Pool::Allocate(size_t bytes, Life life) {
  if (faults_) faults_->Check();
  if (bytes > (size_t{1} << 60)) throw Error(Code::kOutOfMemory, "cannot allocate ", FormatBytes(bytes));
  Buffer buffer;
  if (backing_ != Backing::kPool) {
    buffer.bytes_ = (bytes + 64) / 64 * 64;
    buffer.data_ = TakePlain(buffer.bytes_);
  } else if (bytes <= kLargestSmall) {
    const int size_class = SmallClassOf(bytes);
    buffer.data_ = small_.Take(size_class);
    if (!buffer.data_) buffer.data_ = TakeSmall(size_class);
    buffer.bytes_ = kSmall.bytes[size_class];
  } else {
    buffer.tier_ = &TierOf(bytes, life);
    buffer.extent_ = TakeExtent(*buffer.tier_, bytes);
    buffer.data_ = buffer.extent_->data;
    buffer.bytes_ = buffer.extent_->bytes;
  }
  buffer.pool_ = shared_from_this();
  return buffer;
}

std::byte* Pool::TakeSmall(int size_class) {
  while (true) {
    MakeRoom(kHugePage);
    if (!small_.Grow()) small_.Add(Map(kHugePage, kSmall.bytes[size_class]));
    // Others may have been quicker to use up what was added.
    if (std::byte* data = small_.Take(size_class)) return data;
  }
}

Extent* Pool::TakeExtent(PoolTier& tier, size_t bytes) {
  while (true) {
    size_t region_bytes;
    {
      std::lock_guard lock(tier.mutex);
      region_bytes = tier.heap.RegionBytes(bytes);
      bool warm = false;
      if (Extent* extent = tier.heap.Take(bytes, warm)) {
        ++(warm ? tier.hits : tier.misses);
        return extent;
      }
    }
    MakeRoom(region_bytes);
    {
      std::lock_guard lock(tier.mutex);
      if (tier.heap.Grow(bytes)) continue;
    }
    std::byte* region = Map(region_bytes, bytes);
    std::lock_guard lock(tier.mutex);
    tier.heap.Add(region, region_bytes);
  }
}

// What waits goes first where the engine's limit has no room beside it.
void Pool::MakeRoom(size_t region) {
  if (Mapped() + region > most_) Purge();
}

std::byte* Pool::Map(size_t region, size_t wanted) {
  std::byte* data = MapPages(region);
  if (!data) {
    Purge();
    data = MapPages(region);
  }
  if (!data)
    throw Error(Code::kOutOfMemory, "the system refused ", FormatBytes(region), " for a block of ", FormatBytes(wanted),
                "; this engine has ", FormatBytes(Mapped()));
  return data;
}

size_t Pool::Mapped() const {
  size_t sum = 0;
  for (const PoolStats& stats : Stats()) sum += stats.reserved;
  return sum;
}

void Pool::Free(std::byte* data, size_t bytes, PoolTier* tier, Extent* extent) {
  if (backing_ == Backing::kMalloc) return std::free(data);
  if (backing_ == Backing::kSystem) return UnmapPages(data, WholePages(bytes));
  if (!extent) return small_.Give(data, SmallClassOf(bytes));
  std::lock_guard lock(tier->mutex);
  tier->heap.Give(extent);
  if (tier->heap.cached() > most_cached_) tier->released += tier->heap.Release(~0u);
}

size_t Pool::ReleaseAll(uint32_t age) {
  size_t released = small_.Release(age);
  small_released_ += released;
  for (PoolTier& tier : tiers_) {
    std::lock_guard lock(tier.mutex);
    const size_t bytes = tier.heap.Release(age);
    tier.released += bytes;
    released += bytes;
  }
  return released;
}

size_t Pool::Trim(double share) {
  size_t released = small_.Trim(share);
  small_released_ += released;
  for (PoolTier& tier : tiers_) {
    std::lock_guard lock(tier.mutex);
    const size_t bytes = tier.heap.Trim(share);
    tier.released += bytes;
    released += bytes;
  }
  return released;
}

size_t Pool::Age() {
  const uint32_t age = ++age_;
  small_.SetAge(age);
  for (PoolTier& tier : tiers_) {
    std::lock_guard lock(tier.mutex);
    tier.heap.SetAge(age);
  }
  return age > 1 ? ReleaseAll(age - 1) : 0;
}

size_t Pool::Purge() { return ReleaseAll(~0u); }

bool Pool::Move(Buffer& buffer, Extent* (ExtentHeap::*how)(Extent*)) {
  if (!buffer.extent_) return false;
  std::lock_guard lock(buffer.tier_->mutex);
  Extent* better = (buffer.tier_->heap.*how)(buffer.extent_);
  if (!better) return false;
  buffer.extent_ = better;
  buffer.data_ = better->data;
  buffer.tier_->moved += better->bytes;
  return true;
}

bool Pool::MoveIntoHole(Buffer& buffer) { return Move(buffer, &ExtentHeap::MoveIntoHole); }

bool Pool::Slide(Buffer& buffer) { return Move(buffer, &ExtentHeap::Slide); }

void Pool::CountDefragmentation(const AllPoolStats& before) {
  for (size_t i = 0; i < tiers_.size(); ++i) {
    std::lock_guard lock(tiers_[i].mutex);
    if (tiers_[i].moved > before[i + 1].moved) ++tiers_[i].defragmentations;
  }
}

AllPoolStats Pool::Stats() const {
  AllPoolStats all;
  const SmallStats small = small_.Stats();
  all[0] = {"small", small.hits, small.misses,   small.used, small.cached, 0, small.largest_free, 0,
            0,       0,          small_released_};
  size_t waiting[kPools] = {small.free_spans};
  constexpr std::string_view kNames[] = {"runs", "held", "large", "weights"};
  for (int i = 1; i < kPools; ++i) {
    const PoolTier& tier = tiers_[i - 1];
    std::lock_guard lock(tier.mutex);
    const HeapStats heap = tier.heap.Stats();
    all[i] = {kNames[i - 1],     tier.hits, tier.misses,           heap.used,  heap.cached,  0,
              heap.largest_free, 0,         tier.defragmentations, tier.moved, tier.released};
    waiting[i] = heap.cached;
  }
  for (int i = 0; i < kPools; ++i) {
    all[i].reserved = all[i].used + all[i].cached;
    if (waiting[i])
      all[i].fragmentation = 1.0 - static_cast<double>(all[i].largest_free) / static_cast<double>(waiting[i]);
  }
  return all;
}

}  // namespace ziggurat
