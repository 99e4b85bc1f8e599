// Size-class pools over pages of the OS: what a run needs is found again, not faulted in again.
//
// Three pools share the work: small (up to 64 KiB), medium (up to 2 MiB), large (above; huge pages). Requests are
// rounded up to a class, four a power of two, so that at most a fifth is slack. Freed blocks wait in their class's
// list until Purge(), or until more than the cached limit waits.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

namespace ziggurat {

struct PoolStats {
  std::string_view pool;  // "small" | "medium" | "large"
  uint64_t hits = 0;      // requests served from a list
  uint64_t misses = 0;    // requests that went to the OS
  size_t used = 0;        // bytes handed out, slack included
  size_t cached = 0;      // bytes waiting
  size_t reserved = 0;    // used + cached
  size_t largest_free = 0;
  // 1 - largest_free / cached: how far what waits is from one piece; 0 when nothing waits.
  double fragmentation = 0;
};

class Pool;

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
  size_t bytes_ = 0;  // of the class
};

// Thread-safe.
class Pool : public std::enable_shared_from_this<Pool> {
 public:
  // At most `max_cached` bytes wait for reuse; what is freed beyond goes back to the OS.
  static std::shared_ptr<Pool> Make(size_t max_cached) { return std::shared_ptr<Pool>(new Pool(max_cached)); }
  ~Pool();
  // Throws kOutOfMemory if the OS refuses. Zero bytes give a valid block.
  Buffer Allocate(size_t bytes);
  // Gives everything that waits back to the OS.
  void Purge();
  std::array<PoolStats, 3> Stats() const;

 private:
  friend class Buffer;
  static constexpr int kClasses = 256;
  struct Tier {
    mutable std::mutex mutex;
    PoolStats stats;
    std::array<std::vector<std::byte*>, kClasses> lists;
  };

  explicit Pool(size_t max_cached);
  Tier& TierOf(size_t bytes) { return tiers_[bytes <= (64 << 10) ? 0 : bytes <= (2 << 20) ? 1 : 2]; }
  void Free(std::byte* data, size_t bytes);

  const size_t max_cached_;
  std::array<Tier, 3> tiers_;
};

}  // namespace ziggurat
