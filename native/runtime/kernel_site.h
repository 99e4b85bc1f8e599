// Where a kernel is prepared: packs into the engine's weight store.
#pragma once

#include "runtime/weight_store.h"

namespace ziggurat {

class StoreSite : public KernelSite {
 public:
  StoreSite(const Node& node, WeightStore& weights) : KernelSite(node), weights_(weights) {}
  std::shared_ptr<const PackedWeight> Pack(int i, std::string_view packing, size_t bytes,
                                           FunctionRef<void(std::byte*)> fill) override {
    const Value* value = node().Input(i);
    ZIGGURAT_CHECK(value && value->IsConstant());
    return weights_.Get(*value->constant, packing, bytes, fill);
  }

 private:
  WeightStore& weights_;
};

}  // namespace ziggurat
