#include "memory/pages.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace ziggurat {

namespace {

// `bytes` from the system that start at a multiple of a huge page, or null.
std::byte* MapAligned(size_t bytes, int protection, int flags) {
  // One huge page more than asked for holds an aligned start; what is before and behind goes back at once.
  void* raw = mmap(nullptr, bytes + kHugePage, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  const uintptr_t start = reinterpret_cast<uintptr_t>(raw);
  const uintptr_t aligned = (start + kHugePage - 1) / kHugePage * kHugePage;
  if (aligned > start) munmap(raw, aligned - start);
  if (const size_t tail = start + kHugePage - aligned) munmap(reinterpret_cast<void*>(aligned + bytes), tail);
  return reinterpret_cast<std::byte*>(aligned);
}

}  // namespace

std::byte* MapPages(size_t bytes) {
  if (bytes < kHugePage) {
    void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return data == MAP_FAILED ? nullptr : static_cast<std::byte*>(data);
  }
  std::byte* data = MapAligned(bytes, PROT_READ | PROT_WRITE, 0);
  if (data) madvise(data, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
  return data;
}

void UnmapPages(std::byte* data, size_t bytes) {
  PermitAccess(data, bytes);  // whatever is mapped here next
  munmap(data, bytes);
}

std::byte* ReserveAddresses(size_t bytes) {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur != RLIM_INFINITY) return nullptr;
  return MapAligned(bytes, PROT_NONE, MAP_NORESERVE);
}

bool CommitPages(std::byte* data, size_t bytes) {
  if (mprotect(data, bytes, PROT_READ | PROT_WRITE) != 0) return false;
  madvise(data, bytes, MADV_HUGEPAGE);
  return true;
}

void DecommitPages(std::byte* data, size_t bytes) {
  PermitAccess(data, bytes);
  // A new mapping in place of the old one: changing its protection alone would leave the memory promised.
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  if (mmap(data, bytes, PROT_NONE, kFlags, -1, 0) == MAP_FAILED) madvise(data, bytes, MADV_DONTNEED);
}

void ReleaseAddresses(std::byte* data, size_t bytes) { munmap(data, bytes); }

void DiscardPages(std::byte* data, size_t bytes) { madvise(data, bytes, MADV_DONTNEED); }

#if defined(__SANITIZE_ADDRESS__)
void ForbidAccess(const std::byte* data, size_t bytes) { __asan_poison_memory_region(data, bytes); }
void PermitAccess(const std::byte* data, size_t bytes) { __asan_unpoison_memory_region(data, bytes); }
bool IsForbidden(const std::byte* data) { return __asan_address_is_poisoned(data); }
#else
void ForbidAccess(const std::byte*, size_t) {}
void PermitAccess(const std::byte*, size_t) {}
bool IsForbidden(const std::byte*) { return false; }
#endif

}  // namespace ziggurat
