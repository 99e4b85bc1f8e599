// Element-wise ops of one input: float32 on its kernels, float16 and bfloat16 through them.
#include "cpu/ops/unary.h"

#include <string>

#include "cpu/ops/half.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"

namespace ziggurat::cpu {
namespace {

class UnaryKernel final : public Kernel {
 public:
  UnaryKernel(std::string name, UnaryFn run, const ElementParams& params, HalfCasts half, bool to_bool)
      : name_(std::move(name)), run_(run), params_(params), half_(half), to_bool_(to_bool) {}

  std::string_view name() const override { return name_; }
  int InPlaceInput(int) const override { return to_bool_ ? -1 : 0; }

  void Run(KernelContext& context) const override { Apply(context, params_); }

 protected:
  void Apply(KernelContext& context, const ElementParams& params) const {
    const std::byte* x = context.inputs[0].As<const std::byte>();
    std::byte* y = context.outputs[0].As<std::byte>();
    const int64_t in_bytes = half_ ? 2 : 4, out_bytes = to_bool_ ? 1 : in_bytes;
    ForElements(context.team, context.outputs[0].Count(), kCostlyGrain, [&](int64_t begin, int64_t end) {
      if (!half_) return run_(x + begin * in_bytes, y + begin * out_bytes, end - begin, params);
      alignas(64) float tile[kTile];
      for (int64_t at = begin; at < end; at += kTile) {
        const int64_t n = std::min(kTile, end - at);
        half_.widen(x + at * in_bytes, tile, n);
        run_(tile, to_bool_ ? static_cast<void*>(y + at) : tile, n, params);
        if (!to_bool_) half_.narrow(tile, y + at * out_bytes, n);
      }
    });
  }

 private:
  static constexpr int64_t kTile = 512;
  std::string name_;
  UnaryFn run_;
  ElementParams params_;
  HalfCasts half_;
  bool to_bool_;
};

struct NamedOp {
  std::string_view name;
  UnaryOp op;
};
constexpr NamedOp kPlainOps[] = {
    {"Abs", UnaryOp::kAbs},         {"Neg", UnaryOp::kNeg},
    {"Sign", UnaryOp::kSign},       {"Floor", UnaryOp::kFloor},
    {"Ceil", UnaryOp::kCeil},       {"Round", UnaryOp::kRound},
    {"Sqrt", UnaryOp::kSqrt},       {"Reciprocal", UnaryOp::kReciprocal},
    {"Exp", UnaryOp::kExp},         {"Log", UnaryOp::kLog},
    {"Erf", UnaryOp::kErf},         {"Tanh", UnaryOp::kTanh},
    {"Sigmoid", UnaryOp::kSigmoid}, {"HardSwish", UnaryOp::kHardSwish},
    {"Relu", UnaryOp::kRelu},       {"Softplus", UnaryOp::kSoftplus},
    {"Mish", UnaryOp::kMish},       {"Softsign", UnaryOp::kSoftsign},
    {"Sin", UnaryOp::kSin},         {"Cos", UnaryOp::kCos},
    {"Tan", UnaryOp::kTan},         {"Asin", UnaryOp::kAsin},
    {"Acos", UnaryOp::kAcos},       {"Atan", UnaryOp::kAtan},
    {"Sinh", UnaryOp::kSinh},       {"Cosh", UnaryOp::kCosh},
    {"Asinh", UnaryOp::kAsinh},     {"Acosh", UnaryOp::kAcosh},
    {"Atanh", UnaryOp::kAtanh},
};

std::unique_ptr<Kernel> MakeUnary(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  const DType dtype = node.Input(0)->type.dtype;
  const UnaryRun found = FindUnaryRun(node, table);
  if (!found.run || !ComputesInFloat32(dtype)) return nullptr;
  return std::make_unique<UnaryKernel>(Cat("unary.", node.op->name, ".", Name(dtype), ".", table.isa), found.run,
                                       found.params, HalfCasts(*table.vector, dtype), found.to_bool);
}

constexpr KernelEntry kEntries[] = {
    {"Abs", MakeUnary},     {"Neg", MakeUnary},       {"Sign", MakeUnary},  {"Floor", MakeUnary},
    {"Ceil", MakeUnary},    {"Round", MakeUnary},     {"Sqrt", MakeUnary},  {"Reciprocal", MakeUnary},
    {"Exp", MakeUnary},     {"Log", MakeUnary},       {"Erf", MakeUnary},   {"Tanh", MakeUnary},
    {"Sigmoid", MakeUnary}, {"HardSwish", MakeUnary}, {"Relu", MakeUnary},  {"Softplus", MakeUnary},
    {"Mish", MakeUnary},    {"Softsign", MakeUnary},  {"Sin", MakeUnary},   {"Cos", MakeUnary},
    {"Tan", MakeUnary},     {"Asin", MakeUnary},      {"Acos", MakeUnary},  {"Atan", MakeUnary},
    {"Sinh", MakeUnary},    {"Cosh", MakeUnary},      {"Asinh", MakeUnary}, {"Acosh", MakeUnary},
    {"Atanh", MakeUnary},   {"LeakyRelu", MakeUnary}, {"Elu", MakeUnary},   {"Celu", MakeUnary},
    {"Selu", MakeUnary},    {"Swish", MakeUnary},     {"Gelu", MakeUnary},  {"HardSigmoid", MakeUnary},
    {"Shrink", MakeUnary},  {"IsNaN", MakeUnary},     {"IsInf", MakeUnary}, {"ThresholdedRelu", MakeUnary},
};

}  // namespace

// The defaults of attributes are ONNX's.
UnaryRun FindUnaryRun(const Node& node, const KernelTable& table) {
  const ElementwiseKernels& kernels = table.vector->elementwise;
  const std::string_view name = node.op->name;
  if (!node.op->domain.empty()) return {};
  for (const NamedOp& named : kPlainOps)
    if (named.name == name) return {kernels.unary(named.op), {}};
  const auto with = [&](UnaryOp op, float alpha, float beta = 0) { return UnaryRun{kernels.unary(op), {alpha, beta}}; };
  if (name == "LeakyRelu") return with(UnaryOp::kLeakyRelu, node.Float("alpha", 0.01f));
  if (name == "Elu") return with(UnaryOp::kElu, node.Float("alpha", 1));
  if (name == "Celu") return with(UnaryOp::kCelu, node.Float("alpha", 1));
  if (name == "Selu")
    return with(UnaryOp::kSelu, node.Float("alpha", 1.67326319217681884765625f),
                node.Float("gamma", 1.05070102214813232421875f));
  if (name == "HardSigmoid") return with(UnaryOp::kHardSigmoid, node.Float("alpha", 0.2f), node.Float("beta", 0.5f));
  if (name == "ThresholdedRelu") return with(UnaryOp::kThresholdedRelu, node.Float("alpha", 1));
  if (name == "Shrink") return with(UnaryOp::kShrink, node.Float("lambd", 0.5f), node.Float("bias", 0));
  if (name == "Swish") {
    const float alpha = node.Float("alpha", 1);
    return with(alpha == 1 ? UnaryOp::kSilu : UnaryOp::kSwish, alpha);
  }
  if (name == "Gelu")
    return with(node.String("approximate", "none") == "tanh" ? UnaryOp::kGeluTanh : UnaryOp::kGelu, 0);
  if (name == "IsNaN") return {kernels.classify(ClassifyOp::kIsNan), {}, true};
  if (name == "IsInf")
    return {kernels.classify(ClassifyOp::kIsInf),
            {static_cast<float>(node.Int("detect_positive", 1)), static_cast<float>(node.Int("detect_negative", 1))},
            true};
  return {};
}

std::span<const KernelEntry> UnaryKernels() { return kEntries; }

}  // namespace ziggurat::cpu
