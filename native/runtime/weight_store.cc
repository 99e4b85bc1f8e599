#include "runtime/weight_store.h"

#include <cstring>

namespace ziggurat {

struct WeightStore::Entry : PackedWeight {
  Buffer buffer;
  Reservation reservation;
  std::shared_ptr<Budget> budget;  // outlives the reservation
  size_t size = 0;
  const std::byte* data() const override { return buffer.data(); }
  size_t bytes() const override { return size; }
  ~Entry() override { reservation.Release(); }
};

namespace {

// 128 bits of two independent multiply-rotate chains over 64-bit words: equal contents are found, and an accidental
// clash (2^-128 a pair) is not a risk to plan for. Not meant against forgery: both models are the operator's own.
std::string ContentKey(const Constant& constant) {
  const TensorView view = constant.View();
  const size_t bytes = view.Bytes();
  const std::byte* data = static_cast<const std::byte*>(view.data);
  uint64_t a = 0x9E3779B97F4A7C15ull ^ bytes, b = 0xC2B2AE3D27D4EB4Full;
  auto mix = [&](uint64_t word) {
    a = (a ^ word) * 0xFF51AFD7ED558CCDull;
    a ^= a >> 32;
    b = ((b << 27 | b >> 37) + word) * 0x9FB21C651E98DF25ull;
    b ^= b >> 29;
  };
  size_t i = 0;
  for (; i + 8 <= bytes; i += 8) {
    uint64_t word;
    std::memcpy(&word, data + i, 8);
    mix(word);
  }
  uint64_t tail = 0;
  if (i < bytes) std::memcpy(&tail, data + i, bytes - i);
  mix(tail);
  // The same bytes mean something else in another encoding.
  return Cat(Name(view.dtype), view.shape, ":", constant.encoding().ggml_type, ":", a, ":", b);
}

}  // namespace

std::shared_ptr<const PackedWeight> WeightStore::Get(const Constant& constant, std::string_view packing, size_t bytes,
                                                     FunctionRef<void(std::byte*)> fill) {
  std::string key = Cat(packing, "|", bytes, "|", ContentKey(constant));
  {
    std::lock_guard lock(mutex_);
    if (auto entry = entries_[key].lock()) return entry;
  }
  auto entry = std::make_shared<Entry>();
  entry->budget = budget_;
  entry->reservation = budget_->Reserve(bytes, "packing a weight");
  entry->buffer = pool_->Allocate(bytes);
  entry->size = bytes;
  std::memset(entry->buffer.data(), 0, bytes);
  fill(entry->buffer.data());
  std::lock_guard lock(mutex_);
  std::erase_if(entries_, [](const auto& other) { return other.second.expired(); });
  // Two loads may have packed the same weight side by side; the first to arrive is kept.
  std::weak_ptr<const Entry>& known = entries_[key];
  if (auto first = known.lock()) return first;
  known = entry;
  return entry;
}

size_t WeightStore::bytes() const {
  std::lock_guard lock(mutex_);
  size_t sum = 0;
  for (const auto& [key, weak] : entries_)
    if (auto entry = weak.lock()) sum += entry->bytes();
  return sum;
}

}  // namespace ziggurat
