// Packed weights of an engine, one copy for each (content, packing): shared by plan variants, models and versions.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "device/device.h"
#include "memory/budget.h"
#include "memory/pool.h"

namespace ziggurat {

// Thread-safe. An entry lives while a kernel holds it.
class WeightStore {
 public:
  WeightStore(std::shared_ptr<Pool> pool, std::shared_ptr<Budget> budget)
      : pool_(std::move(pool)), budget_(std::move(budget)) {}

  std::shared_ptr<const PackedWeight> Get(const Constant& constant, std::string_view packing, size_t bytes,
                                          FunctionRef<void(std::byte*)> fill);
  // Bytes of all live entries.
  size_t bytes() const;

 private:
  struct Entry;
  std::shared_ptr<Pool> pool_;
  std::shared_ptr<Budget> budget_;
  mutable std::mutex mutex_;
  std::map<std::string, std::weak_ptr<const Entry>> entries_;
};

}  // namespace ziggurat
