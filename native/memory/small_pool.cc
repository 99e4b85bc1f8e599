#include "memory/small_pool.h"

#include <pthread.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <thread>

#include "base/error.h"

namespace ziggurat {

// Stands at the start of its memory, so that a block finds it by its address.
struct SmallPool::Span {
  SmallPool* owner;
  Extent* extent;
  Span *newer, *older;  // of those with a free block
  int size_class, capacity, free;
  std::array<uint64_t, kSpan / 64 / 64> is_free;

  static constexpr size_t kHeader = 1024;
  std::byte* Block(int index) {
    return reinterpret_cast<std::byte*>(this) + kHeader + static_cast<size_t>(index) * kSmall.bytes[size_class];
  }
};

void SmallPool::Cache::Lock() {
  // Held for some instructions; a sleep lets a holder of lower priority go on.
  for (int round = 0; !TryLock(); ++round)
    round < 64 ? std::this_thread::yield() : std::this_thread::sleep_for(std::chrono::microseconds(50));
}

// A cache holds no more than 64 KiB of one size, of every size one block at least.
int SmallPool::Capacity(int size_class) {
  return std::clamp(static_cast<int>((64u << 10) / kSmall.bytes[size_class]), 1, kMostBlocks);
}

// Null: this thread's cache and the next are busy.
SmallPool::Cache* SmallPool::LockCache() {
  // Thread descriptors are pages apart; the product's upper bits depend on all of theirs.
  const uint64_t id = uint64_t(pthread_self()) >> 8;
  const int slot = static_cast<int>(id * 0x9E3779B97F4A7C15ull >> 60);
  static_assert(kCaches == 16);
  Cache* cache = &caches_[slot];
  if (!cache->TryLock()) {
    cache = &caches_[slot ^ 1];
    if (!cache->TryLock()) return nullptr;
  }
  cache->used_at = age_.load(std::memory_order_relaxed);
  return cache;
}

std::byte* SmallPool::Take(int size_class) {
  Cache* cache = LockCache();
  if (!cache) {
    std::lock_guard lock(mutex_);
    std::byte* data = TakeFromSpan(size_class);
    if (data) ++hits_, out_ += kSmall.bytes[size_class];
    return data;
  }
  std::byte* data;
  if (uint8_t& count = cache->counts[size_class]) {
    data = cache->blocks[size_class][--count];
    cache->bytes -= kSmall.bytes[size_class];
    ++cache->hits;
  } else {
    data = Refill(*cache, size_class);
  }
  if (data) cache->out += kSmall.bytes[size_class];
  cache->Unlock();
  if (data) PermitAccess(data, kSmall.bytes[size_class]);
  return data;
}

// One block to hand out, and half of what the cache may hold of them.
std::byte* SmallPool::Refill(Cache& cache, int size_class) {
  std::lock_guard lock(mutex_);
  std::byte* data = TakeFromSpan(size_class);
  if (!data) return nullptr;
  ++cache.hits;
  const uint32_t bytes = kSmall.bytes[size_class];
  for (int more = Capacity(size_class) / 2; more > 0 && cache.bytes + bytes <= kCacheBytes; --more) {
    // Only from a span that is cut already: a cache that is filled for its own sake must not take new memory.
    if (!partial_[size_class]) break;
    std::byte* next = TakeFromSpan(size_class);
    ForbidAccess(next, bytes);
    cache.blocks[size_class][cache.counts[size_class]++] = next;
    cache.bytes += bytes;
  }
  return data;
}

void SmallPool::Give(std::byte* data, int size_class) {
  const uint32_t bytes = kSmall.bytes[size_class];
  if (IsForbidden(data)) throw Error(Code::kInternal, "a block of memory was given back twice");
  Cache* cache = LockCache();
  if (!cache) {
    std::lock_guard lock(mutex_);
    GiveToSpan(data, size_class);
    out_ -= bytes;
    return;
  }
  try {
    if (cache->counts[size_class] == Capacity(size_class)) Flush(*cache, size_class, Capacity(size_class) / 2);
    if (cache->bytes + bytes > kCacheBytes)
      for (int one = 0; one < kSmallClasses; ++one) Flush(*cache, one, 0);
  } catch (...) {
    cache->Unlock();
    throw;
  }
  ForbidAccess(data, bytes);
  cache->blocks[size_class][cache->counts[size_class]++] = data;
  cache->bytes += bytes;
  cache->out -= bytes;
  cache->Unlock();
}

// Back to the spans, oldest first, all but `keep`.
void SmallPool::Flush(Cache& cache, int size_class, int keep) {
  uint8_t& count = cache.counts[size_class];
  if (count <= keep) return;
  auto& blocks = cache.blocks[size_class];
  const int gone = count - keep;
  std::lock_guard lock(mutex_);
  for (int i = 0; i < gone; ++i) GiveToSpan(blocks[i], size_class);
  std::copy(blocks.begin() + gone, blocks.begin() + count, blocks.begin());
  count = static_cast<uint8_t>(keep);
  cache.bytes -= static_cast<size_t>(gone) * kSmall.bytes[size_class];
}

SmallPool::Span* SmallPool::NewSpan(int size_class) {
  bool warm = false;
  static_assert(sizeof(Span) <= Span::kHeader);
  Extent* extent = heap_.Take(kSpan, warm);
  if (!extent) return nullptr;
  Span* span = new (extent->data) Span{this, extent, nullptr, nullptr, size_class, 0, 0, {}};
  span->capacity = span->free = static_cast<int>((kSpan - Span::kHeader) / kSmall.bytes[size_class]);
  for (int i = 0; i < span->capacity; ++i) span->is_free[i / 64] |= uint64_t{1} << (i % 64);
  ForbidAccess(extent->data + Span::kHeader, kSpan - Span::kHeader);
  waiting_ += static_cast<size_t>(span->free) * kSmall.bytes[size_class];
  partial_[size_class] = span;
  return span;
}

std::byte* SmallPool::TakeFromSpan(int size_class) {
  Span* span = partial_[size_class];
  if (!span && !(span = NewSpan(size_class))) return nullptr;
  size_t word = 0;
  while (!span->is_free[word]) ++word;
  const int bit = std::countr_zero(span->is_free[word]);
  span->is_free[word] &= span->is_free[word] - 1;
  waiting_ -= kSmall.bytes[size_class];
  if (--span->free == 0) {
    partial_[size_class] = span->newer;
    if (span->newer) span->newer->older = nullptr;
    span->newer = nullptr;
  }
  std::byte* data = span->Block(static_cast<int>(word * 64) + bit);
  PermitAccess(data, kSmall.bytes[size_class]);
  return data;
}

void SmallPool::GiveToSpan(std::byte* data, int size_class) {
  Span* span = reinterpret_cast<Span*>(reinterpret_cast<uintptr_t>(data) / kSpan * kSpan);
  const uint32_t bytes = kSmall.bytes[size_class];
  const size_t offset = static_cast<size_t>(data - reinterpret_cast<std::byte*>(span)) - Span::kHeader;
  const size_t index = offset / bytes;
  if (span->owner != this || span->size_class != size_class || offset % bytes ||
      index >= static_cast<size_t>(span->capacity))
    throw Error(Code::kInternal, "a block of memory came back that is not this pool's");
  uint64_t& word = span->is_free[index / 64];
  const uint64_t bit = uint64_t{1} << (index % 64);
  if (word & bit) throw Error(Code::kInternal, "a block of memory was given back twice");
  word |= bit;
  waiting_ += bytes;
  ForbidAccess(data, bytes);
  const auto unlink = [&] {
    if (span->newer) span->newer->older = span->older;
    (span->older ? span->older->newer : partial_[size_class]) = span->newer;
  };
  if (++span->free == 1) {
    span->older = nullptr;
    span->newer = partial_[size_class];
    if (span->newer) span->newer->older = span;
    partial_[size_class] = span;
  }
  if (span->free < span->capacity) return;
  unlink();
  waiting_ -= static_cast<size_t>(span->free) * bytes;
  heap_.Give(span->extent);
}

bool SmallPool::Grow() {
  std::lock_guard lock(mutex_);
  if (!heap_.Grow(kHugePage)) return false;
  CountMiss();
  return true;
}

void SmallPool::Add(std::byte* region) {
  std::lock_guard lock(mutex_);
  heap_.Add(region, kHugePage);
  CountMiss();
}

void SmallPool::CountMiss() {
  ++misses_;
  --hits_;  // of the Take that follows
}

void SmallPool::SetAge(uint32_t age) {
  age_.store(age, std::memory_order_relaxed);
  std::lock_guard lock(mutex_);
  heap_.SetAge(age);
}

size_t SmallPool::Release(uint32_t age) {
  {
    // Spans that the caches give up now have been idle for as long as these.
    std::lock_guard lock(mutex_);
    heap_.SetAge(age > 0 ? age - 1 : 0);
  }
  for (Cache& cache : caches_) {
    cache.Lock();
    if (cache.used_at < age)
      for (int one = 0; one < kSmallClasses; ++one) Flush(cache, one, 0);
    cache.Unlock();
  }
  std::lock_guard lock(mutex_);
  heap_.SetAge(age_);
  return heap_.Release(age);
}

size_t SmallPool::Trim(double share) {
  std::lock_guard lock(mutex_);
  return heap_.Trim(share);
}

SmallStats SmallPool::Stats() {
  SmallStats stats;
  int64_t out = 0;
  for (Cache& cache : caches_) {
    cache.Lock();
    stats.hits += cache.hits;
    stats.cached += cache.bytes;
    out += cache.out;
    cache.Unlock();
  }
  std::lock_guard lock(mutex_);
  const HeapStats heap = heap_.Stats();
  stats.hits += hits_;
  stats.misses = misses_;
  stats.used = static_cast<size_t>(std::max<int64_t>(0, out + out_));
  stats.cached += waiting_ + heap.cached;
  stats.free_spans = heap.cached;
  stats.largest_free = heap.largest_free;
  return stats;
}

}  // namespace ziggurat
