#include "cpu/ops/half.h"

#include <string>
#include <vector>

#include "cpu/ops/ranges.h"

namespace ziggurat::cpu {
namespace {

bool IsHalf(DType dtype) { return dtype == DType::kFloat16 || dtype == DType::kBFloat16; }

size_t WideBytes(const TensorView& view) {
  return IsHalf(view.dtype) ? (static_cast<size_t>(view.Count()) * 4 + 63) / 64 * 64 : 0;
}

class Float32Kernel final : public Kernel {
 public:
  Float32Kernel(std::unique_ptr<Kernel> kernel, const VectorKernels& kernels)
      : kernel_(std::move(kernel)), name_(Cat(kernel_->name(), ".half")), kernels_(kernels) {}

  std::string_view name() const override { return name_; }
  bool NeedsInput(int i) const override { return kernel_->NeedsInput(i); }

  size_t ScratchBytes(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
                      int workers) const override {
    size_t bytes = (kernel_->ScratchBytes(Wide(inputs), Wide(outputs), workers) + 63) / 64 * 64;
    for (const TensorView& view : inputs) bytes += WideBytes(view);
    for (const TensorView& view : outputs) bytes += WideBytes(view);
    return bytes;
  }

  void Run(KernelContext& context) const override {
    std::vector<TensorView> inputs = Wide(context.inputs), outputs = Wide(context.outputs);
    std::byte* free = context.scratch;
    const auto take = [&](const TensorView& from, TensorView& to) {
      if (!IsHalf(from.dtype) || !from.data) return;
      to.data = free;
      free += WideBytes(from);
    };
    for (size_t i = 0; i < inputs.size(); ++i) {
      take(context.inputs[i], inputs[i]);
      Cast(context.team, context.inputs[i], inputs[i], false);
    }
    for (size_t i = 0; i < outputs.size(); ++i) take(context.outputs[i], outputs[i]);
    KernelContext inner = context;
    inner.inputs = inputs;
    inner.outputs = outputs;
    inner.scratch = free;
    kernel_->Run(inner);
    for (size_t i = 0; i < outputs.size(); ++i) Cast(context.team, context.outputs[i], outputs[i], true);
  }

 private:
  static std::vector<TensorView> Wide(std::span<const TensorView> views) {
    std::vector<TensorView> wide(views.begin(), views.end());
    for (TensorView& view : wide)
      if (IsHalf(view.dtype)) view.dtype = DType::kFloat32;
    return wide;
  }

  void Cast(const Team& team, const TensorView& half, const TensorView& wide, bool narrow) const {
    if (!IsHalf(half.dtype) || !half.data) return;
    const HalfCasts casts(kernels_, half.dtype);
    ForElements(team, half.Count(), kCheapGrain, [&](int64_t begin, int64_t end) {
      uint16_t* h = half.As<uint16_t>() + begin;
      float* w = wide.As<float>() + begin;
      narrow ? casts.narrow(w, h, end - begin) : casts.widen(h, w, end - begin);
    });
  }

  std::unique_ptr<Kernel> kernel_;
  std::string name_;
  const VectorKernels& kernels_;
};

}  // namespace

std::unique_ptr<Kernel> ThroughFloat32(std::unique_ptr<Kernel> kernel, const VectorKernels& kernels) {
  if (!kernel) return nullptr;
  return std::make_unique<Float32Kernel>(std::move(kernel), kernels);
}

}  // namespace ziggurat::cpu
