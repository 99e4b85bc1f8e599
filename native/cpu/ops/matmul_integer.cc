// Products of 8-bit matrices: MatMulInteger, whose sums are the result, and those that scale and round them,
// zig.QuantizedMatMul and QLinearMatMul.
#include <vector>

#include "cpu/ops/int8_matmul.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"

namespace ziggurat::cpu {
namespace {

const TensorView* Given(const KernelContext& context, size_t i) {
  return context.inputs.size() > i && context.inputs[i].data ? &context.inputs[i] : nullptr;
}

class MatMulInteger final : public Kernel {
 public:
  MatMulInteger(KernelSite& site, const KernelTable& table)
      : name_(Cat("matmul_integer.", table.isa)), product_(site, table, 1) {}

  std::string_view name() const override { return name_; }
  bool NeedsInput(int i) const override { return i != 1 || !product_.packed(); }
  double Flops(std::span<const TensorView> inputs, std::span<const TensorView>) const override {
    return Int8MatMul::Flops(product_.ShapeOf(inputs[0], inputs[1]));
  }
  size_t ScratchBytes(std::span<const TensorView> inputs, std::span<const TensorView>, int workers) const override {
    return static_cast<size_t>(product_.ScratchBytes(product_.ShapeOf(inputs[0], inputs[1]), workers));
  }

  void Run(KernelContext& context) const override {
    Int8MatMul::Operands operands;
    operands.a = context.inputs[0], operands.b = context.inputs[1];
    operands.a_zero = Given(context, 2), operands.b_zero = Given(context, 3);
    operands.out = context.outputs[0].data;
    product_.Run(context.team, product_.ShapeOf(operands.a, operands.b), operands, context.scratch);
  }

 private:
  std::string name_;
  Int8MatMul product_;
};

// A, its scale and zero point, B, its, then the output's scale and zero point, and a bias. Scales are constants.
enum Inputs { kA, kAScale, kAZero, kB, kBScale, kBZero, kYScale, kYZero, kBias };

std::vector<float> FloatsOf(const TensorView& view) {
  return {view.As<const float>(), view.As<const float>() + view.Count()};
}

class QuantizedMatMul final : public Kernel {
 public:
  QuantizedMatMul(KernelSite& site, const KernelTable& table)
      : name_(Cat("quantized_matmul.", table.isa)), product_(site, table, kB) {
    const float a = site.ConstantInput(kAScale)->As<const float>()[0];
    scales_ = FloatsOf(*site.ConstantInput(kBScale));
    for (float& scale : scales_) scale *= a;
    if (const auto y = site.ConstantInput(kYScale)) y_scale_ = y->As<const float>()[0];
  }

  std::string_view name() const override { return name_; }
  bool NeedsInput(int i) const override {
    return (i != kB || !product_.packed()) && i != kAScale && i != kBScale && i != kYScale;
  }
  double Flops(std::span<const TensorView> inputs, std::span<const TensorView>) const override {
    return Int8MatMul::Flops(product_.ShapeOf(inputs[kA], inputs[kB]));
  }
  size_t ScratchBytes(std::span<const TensorView> inputs, std::span<const TensorView>, int workers) const override {
    const MatMulShape shape = product_.ShapeOf(inputs[kA], inputs[kB]);
    return static_cast<size_t>(RoundUp(shape.n, 16) * 4 + product_.ScratchBytes(shape, workers));
  }

  void Run(KernelContext& context) const override {
    Int8MatMul::Operands operands;
    operands.a = context.inputs[kA], operands.b = context.inputs[kB];
    operands.a_zero = Given(context, kAZero), operands.b_zero = Given(context, kBZero);
    const MatMulShape shape = product_.ShapeOf(operands.a, operands.b);
    float* scales = reinterpret_cast<float*>(context.scratch);
    const int64_t count = static_cast<int64_t>(scales_.size());
    const TensorView *zero = Given(context, kYZero), *bias = Given(context, kBias);
    if ((count != 1 && count != shape.n) || (bias && bias->Count() != shape.n) ||
        (operands.b_zero && operands.b_zero->Count() != 1 && operands.b_zero->Count() != shape.n))
      throw Error(Code::kInvalidArgument, count, " scales for ", shape.n, " columns");
    for (int64_t j = 0; j < shape.n; ++j) scales[j] = scales_[count == 1 ? 0 : j];
    Int8Finish finish;
    finish.scale = scales;
    finish.bias = bias ? bias->As<const float>() : nullptr;
    const DType dtype = context.outputs[0].dtype;
    finish.quantizes = dtype != DType::kFloat32;
    finish.to = {y_scale_, 0, dtype == DType::kInt8};
    if (zero) finish.to.zero = zero->dtype == DType::kInt8 ? zero->As<const int8_t>()[0] : zero->As<const uint8_t>()[0];
    operands.finish = &finish;
    operands.out = context.outputs[0].data, operands.element = static_cast<int64_t>(ByteSize(dtype));
    product_.Run(context.team, shape, operands, context.scratch + RoundUp(shape.n, 16) * 4);
  }

 private:
  std::string name_;
  Int8MatMul product_;
  std::vector<float> scales_;  // A's times B's, one or one a column
  float y_scale_ = 1;
};

// QuantizeLinear to 8 bits with one scale for all: the bits of its expansion.
class QuantizeKernel final : public Kernel {
 public:
  explicit QuantizeKernel(const KernelTable& table)
      : name_(Cat("quantize.", table.isa)), quantize_(table.matrix->int8->quantize) {}
  std::string_view name() const override { return name_; }

  void Run(KernelContext& context) const override {
    const TensorView *zero = Given(context, 2), &y = context.outputs[0];
    Int8Scale to{context.inputs[1].As<const float>()[0], 0, y.dtype == DType::kInt8};
    if (zero) to.zero = to.is_signed ? zero->As<const int8_t>()[0] : zero->As<const uint8_t>()[0];
    const float* x = context.inputs[0].As<const float>();
    ForElements(context.team, y.Count(), kCheapGrain,
                [&](int64_t begin, int64_t end) { quantize_(x + begin, end - begin, to, y.As<std::byte>() + begin); });
  }

 private:
  std::string name_;
  void (*quantize_)(const float*, int64_t, const Int8Scale&, void*);
};

// One element for all, or (per column) a vector.
bool IsPerTensor(const Value* value, bool per_column) {
  if (!value) return true;
  if (!value->type.IsStatic()) return false;
  const Shape shape = value->type.StaticShape();
  return shape.Count() == 1 || (per_column && shape.rank() == 1);
}

bool IsByte(const Value* value) { return value->type.dtype == DType::kInt8 || value->type.dtype == DType::kUint8; }

std::unique_ptr<Kernel> MakeInteger(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  if (!IsPerTensor(node.Input(2), false) || !IsPerTensor(node.Input(3), true)) return nullptr;
  return std::make_unique<MatMulInteger>(site, table);
}

std::unique_ptr<Kernel> MakeQuantized(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  if (!IsByte(node.Input(kA)) || !IsByte(node.Input(kB))) return nullptr;
  for (int i : {kAScale, kBScale, kYScale}) {
    const auto scale = site.ConstantInput(i);
    if (!scale && (i != kYScale || node.Input(i))) return nullptr;
    if (scale && scale->dtype != DType::kFloat32) return nullptr;
  }
  for (int i : {kAScale, kAZero, kYScale, kYZero})
    if (!IsPerTensor(node.Input(i), false)) return nullptr;
  for (int i : {kBScale, kBZero})
    if (!IsPerTensor(node.Input(i), true)) return nullptr;
  const DType y = node.Output(0)->type.dtype;
  if (y != DType::kFloat32 && y != DType::kInt8 && y != DType::kUint8) return nullptr;
  if (const Value* bias = node.Input(kBias); bias && bias->type.dtype != DType::kFloat32) return nullptr;
  return std::make_unique<QuantizedMatMul>(site, table);
}

std::unique_ptr<Kernel> MakeQuantize(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  const Value* y = node.Output(0);
  if (node.Input(0)->type.dtype != DType::kFloat32 || node.Input(1)->type.dtype != DType::kFloat32) return nullptr;
  if (!IsByte(y) || !IsPerTensor(node.Input(1), false) || !IsPerTensor(node.Input(2), false)) return nullptr;
  if (node.Int("block_size") || node.Int("precision")) return nullptr;
  return std::make_unique<QuantizeKernel>(table);
}

constexpr KernelEntry kEntries[] = {{"MatMulInteger", MakeInteger},
                                    {"QuantizedMatMul", MakeQuantized, "zig"},
                                    {"QLinearMatMul", MakeQuantized},
                                    {"QuantizeLinear", MakeQuantize}};

}  // namespace

std::span<const KernelEntry> MatmulIntegerKernels() { return kEntries; }

}  // namespace ziggurat::cpu
