// Where a kernel is prepared: packs into the engine's weight store, or only counts what packing would take.
#pragma once

#include <map>

#include "runtime/weight_store.h"

namespace ziggurat {

// Bytes of each packed weight, by origin and packing.
using PackedSizes = std::map<std::string, size_t>;

inline std::string PackedKey(std::string_view packing, size_t bytes, const Constant& constant) {
  return Cat(packing, "|", bytes, "|", constant.Origin());
}

class StoreSite : public KernelSite {
 public:
  // `sizes` may be null.
  StoreSite(const Node& node, WeightStore& weights, std::shared_ptr<RunGate> gate = nullptr,
            PackedSizes* sizes = nullptr)
      : KernelSite(node), weights_(weights), gate_(std::move(gate)), sizes_(sizes) {}
  std::shared_ptr<const PackedWeight> Pack(int i, std::string_view packing, size_t bytes,
                                           FunctionRef<void(std::byte*)> fill) override {
    const Value* value = node().Input(i);
    ZIGGURAT_CHECK(value && value->IsConstant());
    if (sizes_) sizes_->emplace(PackedKey(packing, bytes, *value->constant), bytes);
    return weights_.Get(*value->constant, packing, bytes, fill, gate_);
  }

 private:
  WeightStore& weights_;
  std::shared_ptr<RunGate> gate_;
  PackedSizes* sizes_;
};

// Kernels prepared here know all but the elements of their weights: they answer every question and cannot run.
class MeasuringSite : public KernelSite {
 public:
  MeasuringSite(const Node& node, PackedSizes* sizes) : KernelSite(node), sizes_(sizes) {}
  std::shared_ptr<const PackedWeight> Pack(int i, std::string_view packing, size_t bytes,
                                           FunctionRef<void(std::byte*)>) override {
    const Value* value = node().Input(i);
    ZIGGURAT_CHECK(value && value->IsConstant());
    if (sizes_) sizes_->emplace(PackedKey(packing, bytes, *value->constant), bytes);
    return std::make_shared<Unpacked>(bytes);
  }
  std::optional<TensorView> ConstantInput(int i) const override {
    const Value* value = node().Input(i);
    if (!value || !value->IsConstant()) return std::nullopt;
    const Constant& constant = *value->constant;
    if (!IsOnlyCounted(constant) || !constant.encoding().IsPlain()) return KernelSite::ConstantInput(i);
    return TensorView{nullptr, constant.dtype(), constant.shape()};
  }

  // Large ones in files are. Vectors are read: kernels look at scales and shapes when they are made.
  static bool IsOnlyCounted(const Constant& constant) {
    constexpr size_t kLarge = 1 << 20;
    return constant.InFile() && constant.Bytes() > kLarge && constant.shape().rank() > 1;
  }

 private:
  class Unpacked : public PackedWeight {
   public:
    explicit Unpacked(size_t bytes) : bytes_(bytes) {}
    const std::byte* data() const override { return nullptr; }
    size_t bytes() const override { return bytes_; }

   private:
    size_t bytes_;
  };

  PackedSizes* sizes_;
};

}  // namespace ziggurat
