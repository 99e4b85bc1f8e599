// Element-wise ops of one input: float32 on its kernels, float16 and bfloat16 through them.
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

std::unique_ptr<Kernel> MakeWith(const KernelSite& site, const KernelTable& table, UnaryFn run,
                                 const ElementParams& params, bool to_bool = false) {
  const DType dtype = site.node().Input(0)->type.dtype;
  if (!ComputesInFloat32(dtype)) return nullptr;
  return std::make_unique<UnaryKernel>(Cat("unary.", site.node().op->name, ".", Name(dtype), ".", table.isa), run,
                                       params, HalfCasts(*table.vector, dtype), to_bool);
}

std::unique_ptr<Kernel> MakePlain(KernelSite& site, const KernelTable& table) {
  for (const NamedOp& named : kPlainOps)
    if (named.name == site.node().op->name) return MakeWith(site, table, table.vector->elementwise.unary(named.op), {});
  return nullptr;
}

// Ops with parameters; the defaults are ONNX's.
std::unique_ptr<Kernel> MakeParametric(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  const std::string_view name = node.op->name;
  const auto make = [&](UnaryOp op, float alpha, float beta = 0) {
    return MakeWith(site, table, table.vector->elementwise.unary(op), {alpha, beta});
  };
  if (name == "LeakyRelu") return make(UnaryOp::kLeakyRelu, node.Float("alpha", 0.01f));
  if (name == "Elu") return make(UnaryOp::kElu, node.Float("alpha", 1));
  if (name == "Celu") return make(UnaryOp::kCelu, node.Float("alpha", 1));
  if (name == "Selu")
    return make(UnaryOp::kSelu, node.Float("alpha", 1.67326319217681884765625f),
                node.Float("gamma", 1.05070102214813232421875f));
  if (name == "HardSigmoid") return make(UnaryOp::kHardSigmoid, node.Float("alpha", 0.2f), node.Float("beta", 0.5f));
  if (name == "ThresholdedRelu") return make(UnaryOp::kThresholdedRelu, node.Float("alpha", 1));
  if (name == "Shrink") return make(UnaryOp::kShrink, node.Float("lambd", 0.5f), node.Float("bias", 0));
  if (name == "Swish") {
    const float alpha = node.Float("alpha", 1);
    return make(alpha == 1 ? UnaryOp::kSilu : UnaryOp::kSwish, alpha);
  }
  if (name == "Gelu")
    return make(node.String("approximate", "none") == "tanh" ? UnaryOp::kGeluTanh : UnaryOp::kGelu, 0);
  return nullptr;
}

std::unique_ptr<Kernel> MakeClassify(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  const bool is_nan = node.op->name == "IsNaN";
  const ElementParams params{static_cast<float>(node.Int("detect_positive", 1)),
                             static_cast<float>(node.Int("detect_negative", 1))};
  return MakeWith(site, table, table.vector->elementwise.classify(is_nan ? ClassifyOp::kIsNan : ClassifyOp::kIsInf),
                  params, true);
}

constexpr KernelEntry kEntries[] = {
    {"Abs", MakePlain},         {"Neg", MakePlain},
    {"Sign", MakePlain},        {"Floor", MakePlain},
    {"Ceil", MakePlain},        {"Round", MakePlain},
    {"Sqrt", MakePlain},        {"Reciprocal", MakePlain},
    {"Exp", MakePlain},         {"Log", MakePlain},
    {"Erf", MakePlain},         {"Tanh", MakePlain},
    {"Sigmoid", MakePlain},     {"HardSwish", MakePlain},
    {"Relu", MakePlain},        {"Softplus", MakePlain},
    {"Mish", MakePlain},        {"Softsign", MakePlain},
    {"Sin", MakePlain},         {"Cos", MakePlain},
    {"Tan", MakePlain},         {"Asin", MakePlain},
    {"Acos", MakePlain},        {"Atan", MakePlain},
    {"Sinh", MakePlain},        {"Cosh", MakePlain},
    {"Asinh", MakePlain},       {"Acosh", MakePlain},
    {"Atanh", MakePlain},       {"LeakyRelu", MakeParametric},
    {"Elu", MakeParametric},    {"Celu", MakeParametric},
    {"Selu", MakeParametric},   {"Swish", MakeParametric},
    {"Gelu", MakeParametric},   {"HardSigmoid", MakeParametric},
    {"Shrink", MakeParametric}, {"IsNaN", MakeClassify},
    {"IsInf", MakeClassify},    {"ThresholdedRelu", MakeParametric},
};

}  // namespace

std::span<const KernelEntry> UnaryKernels() { return kEntries; }

}  // namespace ziggurat::cpu
