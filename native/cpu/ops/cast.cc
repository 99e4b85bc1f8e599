// Cast between the types that models compute in; the narrow and wide rest is left to the plain kernels.
#include <cstring>
#include <string>

#include "cpu/ops/half.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"
#include "cpu/ops/strided.h"

namespace ziggurat::cpu {
namespace {

class CastKernel final : public Kernel {
 public:
  CastKernel(const KernelTable& table, DType from, DType to, CastFn first, CastFn second)
      : name_(Cat("cast.", Name(from), ".", Name(to), ".", table.isa)),
        from_(from),
        to_(to),
        first_(first),
        second_(second) {}
  std::string_view name() const override { return name_; }

  void Run(KernelContext& context) const override {
    const auto from_bytes = static_cast<int64_t>(ByteSize(from_)), to_bytes = static_cast<int64_t>(ByteSize(to_));
    const std::byte* x = context.inputs[0].As<const std::byte>();
    std::byte* y = context.outputs[0].As<std::byte>();
    ForElements(context.team, context.outputs[0].Count(), kCheapGrain, [&](int64_t begin, int64_t end) {
      if (!first_) {
        std::memcpy(y + begin * to_bytes, x + begin * from_bytes, static_cast<size_t>((end - begin) * to_bytes));
        return;
      }
      if (!second_) return first_(x + begin * from_bytes, y + begin * to_bytes, end - begin);
      alignas(64) float tile[kTile];
      for (int64_t at = begin; at < end; at += kTile) {
        const int64_t n = std::min(kTile, end - at);
        first_(x + at * from_bytes, tile, n);
        second_(tile, y + at * to_bytes, n);
      }
    });
  }

 private:
  static constexpr int64_t kTile = 512;
  std::string name_;
  DType from_, to_;
  CastFn first_, second_;  // first alone, first then second through float32, or none: the same type
};

// Types of which every value is a float32.
bool FitsFloat32(DType dtype) {
  return ComputesInFloat32(dtype) || dtype == DType::kInt8 || dtype == DType::kUint8 || dtype == DType::kBool;
}

std::unique_ptr<Kernel> MakeCast(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  const DType from = node.Input(0)->type.dtype, to = node.Output(0)->type.dtype;
  const auto make = [&](CastFn first, CastFn second) {
    return std::make_unique<CastKernel>(table, from, to, first, second);
  };
  if (from == to) return ByteSize(from) ? make(nullptr, nullptr) : nullptr;
  const CastKernels& casts = table.vector->cast;
  if (const CastFn direct = casts.find(from, to)) return make(direct, nullptr);
  // Through float32 only where that loses nothing: the second step is then the only rounding.
  if (!FitsFloat32(from)) return nullptr;
  const CastFn first = casts.find(from, DType::kFloat32), second = casts.find(DType::kFloat32, to);
  return first && second ? make(first, second) : nullptr;
}

constexpr KernelEntry kEntries[] = {{"Cast", MakeCast}};

}  // namespace

std::span<const KernelEntry> ConvertKernels() { return kEntries; }

}  // namespace ziggurat::cpu
