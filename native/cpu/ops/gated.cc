// SwiGLU: the gate of a feed-forward layer and its product in one pass over memory.
#include <algorithm>

#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"

namespace ziggurat::cpu {
namespace {

// Elements a piece: the gate's result stays in the first-level cache until it is multiplied.
constexpr int64_t kPiece = 2048;

// The functions of Swish and Mul, one after the other: the bits of the two ops.
class SwigluKernel final : public Kernel {
 public:
  explicit SwigluKernel(const KernelTable& table)
      : name_(Cat("swiglu.f32.", table.isa)),
        silu_(table.vector->elementwise.unary(UnaryOp::kSilu)),
        multiply_(table.vector->elementwise.binary(BinaryOp::kMul, DType::kFloat32)) {}
  std::string_view name() const override { return name_; }
  int InPlaceInput(int) const override { return 0; }

  void Run(KernelContext& context) const override {
    const float *gate = context.inputs[0].As<const float>(), *up = context.inputs[1].As<const float>();
    if (!(context.inputs[0].shape == context.inputs[1].shape))
      throw Error(Code::kInvalidArgument, "A has shape ", context.inputs[0].shape, " and B ", context.inputs[1].shape);
    float* y = context.outputs[0].As<float>();
    ForElements(context.team, context.outputs[0].Count(), kCostlyGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i += kPiece) {
        const int64_t n = std::min(kPiece, end - i);
        silu_(gate + i, y + i, n, {});
        multiply_(y + i, up + i, y + i, n, Form::kBoth);
      }
    });
  }

 private:
  std::string name_;
  UnaryFn silu_;
  BinaryFn multiply_;
};

std::unique_ptr<Kernel> MakeSwiglu(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  if (node.Input(0)->type.dtype != DType::kFloat32 || node.Float("alpha", 1) != 1) return nullptr;
  return std::make_unique<SwigluKernel>(table);
}

constexpr KernelEntry kEntries[] = {{"SwiGLU", &MakeSwiglu}};

}  // namespace

std::span<const KernelEntry> GatedKernels() { return kEntries; }

}  // namespace ziggurat::cpu
