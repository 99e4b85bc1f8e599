#include "memory/pool.h"

#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <utility>

#include "base/error.h"
#include "memory/budget.h"

namespace ziggurat {
namespace {

constexpr size_t kSmallest = 256;
constexpr size_t kHugePage = 2 << 20;

// Class index and size: four classes a power of two (1, 1.25, 1.5, 1.75) from kSmallest on.
struct SizeClass {
  int index;
  size_t bytes;
};
SizeClass ClassOf(size_t bytes) {
  if (bytes <= kSmallest) return {0, kSmallest};
  const int power = std::bit_width(bytes - 1) - 1;  // 2^power < bytes <= 2^(power+1)
  const size_t quarter = size_t{1} << (power - 2);
  const size_t steps = (bytes - (size_t{1} << power) + quarter - 1) / quarter;  // 1..4
  const int base = (power - std::bit_width(kSmallest) + 1) * 4;
  return {base + static_cast<int>(steps), (size_t{1} << power) + steps * quarter};
}

bool IsMapped(size_t bytes) { return bytes > kHugePage; }

std::byte* TakeFromSystem(size_t bytes) {
  void* data;
  if (IsMapped(bytes)) {
    // Whole huge pages: align by hand, so that no block shares one.
    const size_t length = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    void* raw = mmap(nullptr, length + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) throw Error(Code::kOutOfMemory, "the system refused ", FormatBytes(bytes));
    const uintptr_t start = reinterpret_cast<uintptr_t>(raw);
    const uintptr_t aligned = (start + kHugePage - 1) / kHugePage * kHugePage;
    if (aligned > start) munmap(raw, aligned - start);
    if (const size_t tail = start + kHugePage - aligned) munmap(reinterpret_cast<void*>(aligned + length), tail);
    data = reinterpret_cast<void*>(aligned);
    madvise(data, length, MADV_HUGEPAGE);
  } else {
    data = std::aligned_alloc(64, bytes);
    if (!data) throw Error(Code::kOutOfMemory, "the system refused ", FormatBytes(bytes));
  }
  return static_cast<std::byte*>(data);
}

void GiveToSystem(std::byte* data, size_t bytes) {
  if (IsMapped(bytes))
    munmap(data, (bytes + kHugePage - 1) / kHugePage * kHugePage);
  else
    std::free(data);
}

}  // namespace

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this != &other) {
    Release();
    pool_ = std::move(other.pool_);
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

void Buffer::Release() {
  if (data_) pool_->Free(std::exchange(data_, nullptr), std::exchange(bytes_, 0));
  pool_.reset();
}

Pool::Pool(size_t max_cached) : max_cached_(max_cached) {
  tiers_[0].stats.pool = "small";
  tiers_[1].stats.pool = "medium";
  tiers_[2].stats.pool = "large";
}

Pool::~Pool() { Purge(); }

Buffer Pool::Allocate(size_t bytes) {
  if (bytes > (size_t{1} << 60)) throw Error(Code::kOutOfMemory, "cannot allocate ", FormatBytes(bytes));
  const SizeClass size = ClassOf(bytes);
  Tier& tier = TierOf(size.bytes);
  Buffer buffer;
  {
    std::lock_guard lock(tier.mutex);
    auto& list = tier.lists[size.index];
    if (!list.empty()) {
      buffer.data_ = list.back();
      list.pop_back();
      ++tier.stats.hits;
      tier.stats.cached -= size.bytes;
    } else {
      ++tier.stats.misses;
    }
    tier.stats.used += size.bytes;
  }
  if (!buffer.data_) {
    try {
      buffer.data_ = TakeFromSystem(size.bytes);
    } catch (...) {
      std::lock_guard lock(tier.mutex);
      tier.stats.used -= size.bytes;
      throw;
    }
  }
  buffer.pool_ = shared_from_this();
  buffer.bytes_ = size.bytes;
  return buffer;
}

void Pool::Free(std::byte* data, size_t bytes) {
  Tier& tier = TierOf(bytes);
  {
    std::lock_guard lock(tier.mutex);
    tier.stats.used -= bytes;
    if (tier.stats.cached + bytes <= max_cached_) {
      tier.stats.cached += bytes;
      tier.lists[ClassOf(bytes).index].push_back(data);
      return;
    }
  }
  GiveToSystem(data, bytes);
}

void Pool::Purge() {
  for (Tier& tier : tiers_) {
    std::array<std::vector<std::byte*>, kClasses> lists;
    {
      std::lock_guard lock(tier.mutex);
      lists.swap(tier.lists);
      tier.stats.cached = 0;
    }
    for (int index = 0; index < kClasses; ++index) {
      if (lists[index].empty()) continue;
      // The inverse of ClassOf.
      const int power = index == 0 ? 0 : (index - 1) / 4 + std::bit_width(kSmallest) - 1;
      const size_t bytes =
          index == 0 ? kSmallest : (size_t{1} << power) + ((index - 1) % 4 + 1) * (size_t{1} << (power - 2));
      for (std::byte* data : lists[index]) GiveToSystem(data, bytes);
    }
  }
}

std::array<PoolStats, 3> Pool::Stats() const {
  std::array<PoolStats, 3> all;
  for (size_t i = 0; i < 3; ++i) {
    const Tier& tier = tiers_[i];
    std::lock_guard lock(tier.mutex);
    all[i] = tier.stats;
    all[i].reserved = all[i].used + all[i].cached;
    for (int index = kClasses - 1; index >= 0 && !all[i].largest_free; --index)
      if (!tier.lists[index].empty()) {
        const int power = index == 0 ? 0 : (index - 1) / 4 + std::bit_width(kSmallest) - 1;
        all[i].largest_free =
            index == 0 ? kSmallest : (size_t{1} << power) + ((index - 1) % 4 + 1) * (size_t{1} << (power - 2));
      }
    if (all[i].cached) all[i].fragmentation = 1.0 - static_cast<double>(all[i].largest_free) / all[i].cached;
  }
  return all;
}

}  // namespace ziggurat
