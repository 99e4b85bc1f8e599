// Packed weights of an engine, one copy for each (content, packing): shared by plan variants, models and versions.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "device/device.h"
#include "memory/budget.h"
#include "memory/pool.h"

namespace ziggurat {

// Held shared by each run of a model: its weights stay where they are meanwhile. A move takes it exclusively, if it can
// at once, and so never waits for a run; a run waits for the move of one weight at most.
using RunGate = std::shared_mutex;

// Thread-safe. An entry lives while a kernel holds it.
class WeightStore {
 public:
  WeightStore(std::shared_ptr<Pool> pool, std::shared_ptr<Budget> budget)
      : pool_(std::move(pool)), budget_(std::move(budget)) {}

  // `gate` is that of the model whose kernel asks; without one the entry never moves again.
  std::shared_ptr<const PackedWeight> Get(const Constant& constant, std::string_view packing, size_t bytes,
                                          FunctionRef<void(std::byte*)> fill, const std::shared_ptr<RunGate>& gate);
  // Bytes of all live entries.
  size_t bytes() const;
  // Moves weights that no run holds together: into holes first, which moves few bytes, then each down over the hole
  // before it while the pool's fragmentation is above `enough`.
  void Compact(double enough);

 private:
  struct Entry;
  void AddGate(Entry& entry, const std::shared_ptr<RunGate>& gate);
  bool Move(Entry& entry, bool (Pool::*how)(Buffer&));
  std::vector<std::shared_ptr<Entry>> Live() const;

  std::shared_ptr<Pool> pool_;
  std::shared_ptr<Budget> budget_;
  // Taken before gates (only tried) and the pool's own locks; never by a run.
  mutable std::mutex mutex_;
  std::map<std::string, std::weak_ptr<Entry>> entries_;
};

}  // namespace ziggurat
