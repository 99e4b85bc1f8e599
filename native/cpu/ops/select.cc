// Where, Clip, and the negations that a binary kernel with a constant covers.
#include <cstring>
#include <limits>
#include <string>

#include "cpu/ops/binary.h"
#include "cpu/ops/broadcast.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"

namespace ziggurat::cpu {
namespace {

class WhereKernel final : public Kernel {
 public:
  WhereKernel(std::string name, SelectFn run, int64_t bytes) : name_(std::move(name)), run_(run), bytes_(bytes) {}
  std::string_view name() const override { return name_; }

  void Run(KernelContext& context) const override {
    const TensorView& y = context.outputs[0];
    const int64_t count = y.Count();
    if (count == 0) return;
    const Shape* const shapes[] = {&context.inputs[0].shape, &context.inputs[1].shape, &context.inputs[2].shape};
    const Broadcast broadcast(shapes, y.shape);
    const auto data = [&](int i) { return context.inputs[i].As<const std::byte>(); };
    std::byte* out = y.As<std::byte>();
    ForElements(context.team, count, kCheapGrain, [&](int64_t begin, int64_t end) {
      ForOperandRuns(broadcast, {data(0), data(1), data(2)}, {1, bytes_, bytes_}, begin, end,
                     [&](const ziggurat::cpu::Run& run) {
                       run_({reinterpret_cast<const bool*>(run.data[0]), run.data[1], run.data[2],
                             out + run.at * bytes_, run.n, run.steps[0], run.steps[1], run.steps[2]});
                     });
    });
  }

 private:
  std::string name_;
  SelectFn run_;
  int64_t bytes_;
};

std::unique_ptr<Kernel> MakeWhere(KernelSite& site, const KernelTable& table) {
  const DType dtype = site.node().Input(1)->type.dtype;
  const SelectFn run = table.vector->elementwise.select(static_cast<int>(ByteSize(dtype)));
  if (!run) return nullptr;
  return std::make_unique<WhereKernel>(Cat("where.", Name(dtype), ".", table.isa), run,
                                       static_cast<int64_t>(ByteSize(dtype)));
}

// min(max(x, low), high), as ONNX defines it also for low > high. Bounds are scalars that may be absent.
class ClipKernel final : public Kernel {
 public:
  ClipKernel(std::string name, const BinaryRun& larger, const BinaryRun& smaller)
      : name_(std::move(name)), larger_(larger), smaller_(smaller) {}
  std::string_view name() const override { return name_; }
  int InPlaceInput(int) const override { return 0; }

  void Run(KernelContext& context) const override {
    const TensorView &x = context.inputs[0], &y = context.outputs[0];
    const TensorView* from = &x;
    for (int i : {1, 2}) {
      const bool present = static_cast<int>(context.inputs.size()) > i && context.inputs[i].data;
      if (!present) continue;
      const TensorView bound{context.inputs[i].data, x.dtype, Shape{}};
      RunBinary(context.team, i == 1 ? larger_ : smaller_, *from, bound, y);
      from = &y;
    }
    if (from == &x && x.data != y.data) std::memcpy(y.data, x.data, x.Bytes());
  }

 private:
  std::string name_;
  BinaryRun larger_, smaller_;
};

// float32 in one pass.
class ClipF32Kernel final : public Kernel {
 public:
  ClipF32Kernel(std::string name, UnaryFn run) : name_(std::move(name)), run_(run) {}
  std::string_view name() const override { return name_; }
  int InPlaceInput(int) const override { return 0; }

  void Run(KernelContext& context) const override {
    const auto bound = [&](size_t i, float absent) {
      const bool present = context.inputs.size() > i && context.inputs[i].data;
      return present ? *context.inputs[i].As<const float>() : absent;
    };
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const ElementParams params{bound(1, -kInfinity), bound(2, kInfinity)};
    const float* x = context.inputs[0].As<const float>();
    float* y = context.outputs[0].As<float>();
    ForElements(context.team, context.outputs[0].Count(), kCheapGrain,
                [&](int64_t begin, int64_t end) { run_(x + begin, y + begin, end - begin, params); });
  }

 private:
  std::string name_;
  UnaryFn run_;
};

std::unique_ptr<Kernel> MakeClip(KernelSite& site, const KernelTable& table) {
  const DType dtype = site.node().Input(0)->type.dtype;
  const std::string name = Cat("clip.", Name(dtype), ".", table.isa);
  if (dtype == DType::kFloat32)
    return std::make_unique<ClipF32Kernel>(name, table.vector->elementwise.unary(UnaryOp::kClip));
  const BinaryRun larger = FindBinaryRun(table, BinaryOp::kMax, dtype);
  const BinaryRun smaller = FindBinaryRun(table, BinaryOp::kMin, dtype);
  if (!larger.run || !smaller.run) return nullptr;
  return std::make_unique<ClipKernel>(name, larger, smaller);
}

// op(constant, x): Not x = x ^ true, BitwiseNot x = x ^ ~0, integer Neg x = 0 - x.
class WithConstantKernel final : public Kernel {
 public:
  WithConstantKernel(std::string name, const BinaryRun& run, int64_t constant)
      : name_(std::move(name)), run_(run), constant_(constant) {}
  std::string_view name() const override { return name_; }
  int InPlaceInput(int) const override { return 0; }
  void Run(KernelContext& context) const override {
    int64_t constant = constant_;  // little-endian: its low bytes are the narrower integers
    RunBinary(context.team, run_, TensorView{&constant, context.inputs[0].dtype, Shape{}}, context.inputs[0],
              context.outputs[0]);
  }

 private:
  std::string name_;
  BinaryRun run_;
  int64_t constant_;
};

std::unique_ptr<Kernel> MakeNegation(KernelSite& site, const KernelTable& table) {
  const DType dtype = site.node().Input(0)->type.dtype;
  const std::string_view op = site.node().op->name;
  if (dtype != DType::kBool && !IsInteger(dtype)) return nullptr;
  const BinaryRun run = FindBinaryRun(table, op == "Neg" ? BinaryOp::kSub : BinaryOp::kXor, dtype);
  if (!run.run) return nullptr;
  const int64_t constant = op == "Neg" ? 0 : op == "Not" ? 1 : -1;
  return std::make_unique<WithConstantKernel>(Cat("unary.", op, ".", Name(dtype), ".", table.isa), run, constant);
}

constexpr KernelEntry kEntries[] = {
    {"Where", MakeWhere},         {"Clip", MakeClip},    {"Not", MakeNegation},
    {"BitwiseNot", MakeNegation}, {"Neg", MakeNegation},
};

}  // namespace

std::span<const KernelEntry> SelectKernels() { return kEntries; }

}  // namespace ziggurat::cpu
