#include "runtime/weight_store.h"

#include <algorithm>
#include <cstring>

namespace ziggurat {

struct WeightStore::Entry : PackedWeight {
  Buffer buffer;
  Reservation reservation;
  std::shared_ptr<Budget> budget;  // outlives the reservation
  size_t size = 0;
  std::vector<std::weak_ptr<RunGate>> gates;  // of the models that use it
  bool pinned = false;
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
                                                     FunctionRef<void(std::byte*)> fill,
                                                     const std::shared_ptr<RunGate>& gate) {
  std::string key = Cat(packing, "|", bytes, "|", ContentKey(constant));
  {
    std::lock_guard lock(mutex_);
    if (auto entry = entries_[key].lock()) {
      AddGate(*entry, gate);
      return entry;
    }
  }
  auto entry = std::make_shared<Entry>();
  entry->budget = budget_;
  entry->reservation = budget_->Reserve(bytes, "packing a weight");
  entry->buffer = pool_->Allocate(bytes, gate ? Life::kWeight : Life::kHeld);
  entry->size = bytes;
  std::memset(entry->buffer.data(), 0, bytes);
  fill(entry->buffer.data());
  std::lock_guard lock(mutex_);
  std::erase_if(entries_, [](const auto& other) { return other.second.expired(); });
  // Two loads may have packed the same weight side by side; the first to arrive is kept.
  std::weak_ptr<Entry>& known = entries_[key];
  if (auto first = known.lock()) entry = std::move(first);
  known = entry;
  AddGate(*entry, gate);
  return entry;
}

void WeightStore::AddGate(Entry& entry, const std::shared_ptr<RunGate>& gate) {
  entry.pinned |= gate == nullptr;
  std::erase_if(entry.gates, [&](const auto& other) { return other.expired() || other.lock() == gate; });
  if (gate) entry.gates.push_back(gate);
}

std::vector<std::shared_ptr<WeightStore::Entry>> WeightStore::Live() const {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Entry>> live;
  for (const auto& [key, weak] : entries_)
    if (auto entry = weak.lock()) live.push_back(std::move(entry));
  std::sort(live.begin(), live.end(), [](const auto& a, const auto& b) { return a->data() < b->data(); });
  return live;
}

bool WeightStore::Move(Entry& entry, bool (Pool::*how)(Buffer&)) {
  std::lock_guard lock(mutex_);
  if (entry.pinned) return false;
  std::vector<std::shared_ptr<RunGate>> gates;  // outlive the locks on them
  for (const auto& weak : entry.gates)
    if (auto gate = weak.lock()) gates.push_back(std::move(gate));
  std::vector<std::unique_lock<RunGate>> held;
  for (const auto& gate : gates)
    if (!held.emplace_back(*gate, std::try_to_lock)) return false;
  return ((*pool_).*how)(entry.buffer);
}

void WeightStore::Compact(double enough) {
  // The highest first: what it leaves is the free end. Each move fills a fuller region or goes down in its own, so this
  // ends; the bound is for what runs get in the way of.
  constexpr int kRounds = 8;
  bool moved = true;
  for (int round = 0; moved && round < kRounds; ++round) {
    moved = false;
    const auto live = Live();
    for (auto entry = live.rbegin(); entry != live.rend(); ++entry) moved |= Move(**entry, &Pool::MoveIntoHole);
  }
  for (const auto& entry : Live()) {
    if (pool_->Stats().back().fragmentation <= enough) break;
    Move(*entry, &Pool::Slide);
  }
}

size_t WeightStore::bytes() const {
  size_t sum = 0;
  for (const auto& entry : Live()) sum += entry->bytes();
  return sum;
}

}  // namespace ziggurat
