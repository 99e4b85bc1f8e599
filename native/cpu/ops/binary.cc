// Element-wise ops of two or more inputs with broadcasting.
#include "cpu/ops/binary.h"

#include <string>

#include "cpu/ops/broadcast.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"
#include "device/apart.h"

namespace ziggurat::cpu {

BinaryRun FindBinaryRun(const KernelTable& table, BinaryOp op, DType dtype) {
  const HalfCasts half(*table.vector, dtype);
  return {table.vector->elementwise.binary(op, half ? DType::kFloat32 : dtype), half, false, false};
}

BinaryRun FindCompareRun(const KernelTable& table, CompareOp op, DType dtype, bool swapped) {
  const HalfCasts half(*table.vector, dtype);
  return {table.vector->elementwise.compare(op, half ? DType::kFloat32 : dtype), half, true, swapped};
}

BinaryRun FindBinaryRun(const Node& node, const KernelTable& table, DType dtype) {
  struct NamedOp {
    std::string_view name;
    BinaryOp op;
  };
  static constexpr NamedOp kOps[] = {
      {"Add", BinaryOp::kAdd},      {"Sub", BinaryOp::kSub},        {"Mul", BinaryOp::kMul},
      {"Div", BinaryOp::kDiv},      {"Pow", BinaryOp::kPow},        {"PRelu", BinaryOp::kPRelu},
      {"And", BinaryOp::kAnd},      {"Or", BinaryOp::kOr},          {"Xor", BinaryOp::kXor},
      {"BitwiseOr", BinaryOp::kOr}, {"BitwiseAnd", BinaryOp::kAnd}, {"BitwiseXor", BinaryOp::kXor},
      {"Max", BinaryOp::kMax},      {"Min", BinaryOp::kMin},        {"Sum", BinaryOp::kAdd},
      {"Mean", BinaryOp::kAdd},
  };
  const std::string_view name = node.op->name;
  if (!node.op->domain.empty()) return {};
  for (const NamedOp& named : kOps)
    if (named.name == name) return FindBinaryRun(table, named.op, dtype);
  if (name == "Mod") return FindBinaryRun(table, node.Int("fmod") ? BinaryOp::kFmod : BinaryOp::kMod, dtype);
  if (name == "BitShift") {
    const BinaryOp op = node.String("direction") == "LEFT" ? BinaryOp::kShiftLeft : BinaryOp::kShiftRight;
    return IsUnsignedInteger(dtype) ? FindBinaryRun(table, op, dtype) : BinaryRun{};
  }
  if (name == "Equal") return FindCompareRun(table, CompareOp::kEqual, dtype);
  if (name == "Less") return FindCompareRun(table, CompareOp::kLess, dtype);
  if (name == "Greater") return FindCompareRun(table, CompareOp::kLess, dtype, true);
  if (name == "LessOrEqual") return FindCompareRun(table, CompareOp::kLessOrEqual, dtype);
  if (name == "GreaterOrEqual") return FindCompareRun(table, CompareOp::kLessOrEqual, dtype, true);
  return {};
}

namespace {

Form FormOf(bool a_steps, bool b_steps) {
  if (a_steps == b_steps) return Form::kBoth;
  return a_steps ? Form::kScalarB : Form::kScalarA;
}

void RunWide(const BinaryRun& op, const Run& run, std::byte* y) {
  if (op.swapped) return op.run(run.data[1], run.data[0], y, run.n, FormOf(run.steps[1], run.steps[0]));
  op.run(run.data[0], run.data[1], y, run.n, FormOf(run.steps[0], run.steps[1]));
}

void RunHalf(const BinaryRun& op, const Run& run, std::byte* y) {
  constexpr int64_t kTile = 512;
  alignas(64) float tiles[2][kTile];
  alignas(64) float result[kTile];
  for (int64_t at = 0; at < run.n; at += kTile) {
    Run part;
    part.n = std::min(kTile, run.n - at);
    part.steps = run.steps;
    for (int i = 0; i < 2; ++i) {
      op.half.widen(run.data[i] + (run.steps[i] ? at * 2 : 0), tiles[i], run.steps[i] ? part.n : 1);
      part.data[i] = reinterpret_cast<const std::byte*>(tiles[i]);
    }
    if (op.to_bool) {
      RunWide(op, part, y + at);
    } else {
      RunWide(op, part, reinterpret_cast<std::byte*>(result));
      op.half.narrow(result, y + at * 2, part.n);
    }
  }
}

template <typename T>
int64_t FirstZero(const TensorView& x) {
  const int64_t n = x.Count();
  const T* data = x.As<const T>();
  for (int64_t i = 0; i < n; ++i)
    if (data[i] == 0) return i;
  return -1;
}

}  // namespace

void RefuseZeroDivisor(const TensorView& divisor) {
  if (!IsInteger(divisor.dtype)) return;
  int64_t at = -1;
  switch (ByteSize(divisor.dtype)) {
    case 1:
      at = FirstZero<uint8_t>(divisor);
      break;
    case 2:
      at = FirstZero<uint16_t>(divisor);
      break;
    case 4:
      at = FirstZero<uint32_t>(divisor);
      break;
    case 8:
      at = FirstZero<uint64_t>(divisor);
      break;
    default:
      break;
  }
  if (at >= 0) throw Error(Code::kInvalidArgument, "integer division by zero: element ", at, " of the divisor is 0");
}

void RunBinary(const Team& team, const BinaryRun& op, const TensorView& a, const TensorView& b, const TensorView& y) {
  const int64_t count = y.Count();
  if (count == 0) return;
  const Shape* const shapes[] = {&a.shape, &b.shape};
  const Broadcast broadcast(shapes, y.shape);
  const auto bytes = static_cast<int64_t>(ByteSize(a.dtype));
  const int64_t out_bytes = op.to_bool ? 1 : bytes;
  std::byte* out = y.As<std::byte>();
  ForElements(team, count, kCheapGrain, [&](int64_t begin, int64_t end) {
    ForOperandRuns(broadcast, {a.As<const std::byte>(), b.As<const std::byte>()}, {bytes, bytes}, begin, end,
                   [&](const Run& run) { (op.half ? RunHalf : RunWide)(op, run, out + run.at * out_bytes); });
  });
}

namespace {

class BinaryKernel final : public Kernel, public WritesApart, public ReadsApart {
 public:
  // `alike`: nothing broadcasts.
  BinaryKernel(std::string name, const BinaryRun& run, bool refuses_zero, bool alike)
      : name_(std::move(name)), run_(run), refuses_zero_(refuses_zero), by_rows_(alike && !run.half && !run.to_bool) {}
  std::string_view name() const override { return name_; }
  bool GivesApart() const override { return by_rows_; }
  bool TakesApart(int) const override { return by_rows_ && !refuses_zero_; }
  // The runtime gives the memory of an input of the output's size only; either would do, the first is commoner.
  int InPlaceInput(int) const override { return run_.to_bool ? -1 : 0; }
  void Run(KernelContext& context) const override {
    if (refuses_zero_) RefuseZeroDivisor(context.inputs[1]);
    if (InputPitch(0, 0) || InputPitch(1, 0) || RowPitch(0)) return RunByRows(context);
    RunBinary(context.team, run_, context.inputs[0], context.inputs[1], context.outputs[0]);
  }

 private:
  void RunByRows(const KernelContext& context) const {
    const Shape& shape = context.outputs[0].shape;
    if (shape.Count() == 0) return;
    const auto bytes = static_cast<int64_t>(ByteSize(context.inputs[0].dtype));
    const int64_t n = shape[shape.rank() - 1], y_step = RowPitch(n) * bytes;
    const std::array<int64_t, 2> steps = {InputPitch(0, n) * bytes, InputPitch(1, n) * bytes};
    ForRows(context.team, shape.Count() / n, n, kCheapGrain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const std::byte* a = context.inputs[0].As<const std::byte>() + row * steps[0];
        const std::byte* b = context.inputs[1].As<const std::byte>() + row * steps[1];
        RunWide(run_, {{a, b}, {true, true}, 0, n}, context.outputs[0].As<std::byte>() + row * y_step);
      }
    });
  }

  std::string name_;
  BinaryRun run_;
  bool refuses_zero_, by_rows_;
};

// Sum, Mean, Max, Min of any number of inputs: folded from the left.
class VariadicKernel final : public Kernel {
 public:
  VariadicKernel(std::string name, const BinaryRun& fold, const BinaryRun& divide)
      : name_(std::move(name)), fold_(fold), divide_(divide) {}
  std::string_view name() const override { return name_; }

  void Run(KernelContext& context) const override {
    const TensorView& y = context.outputs[0];
    const size_t count = context.inputs.size();
    if (y.Count() == 0) return;
    RunBinary(context.team, fold_, context.inputs[0], context.inputs[1], y);
    for (size_t i = 2; i < count; ++i) RunBinary(context.team, fold_, y, context.inputs[i], y);
    if (!divide_.run) return;
    float divisor = static_cast<float>(count);
    RunBinary(context.team, divide_, y, TensorView{&divisor, DType::kFloat32, Shape{}}, y);
  }

 private:
  std::string name_;
  BinaryRun fold_, divide_;
};

std::string KernelName(const Node& node, const KernelTable& table) {
  return Cat("binary.", node.op->name, ".", Name(node.Input(0)->type.dtype), ".", table.isa);
}

// Both inputs have one type and the op is known for it.
bool SameTypes(const Node& node) {
  for (const Value* input : node.inputs)
    if (!input || input->type.dtype != node.inputs[0]->type.dtype) return false;
  return true;
}

std::unique_ptr<Kernel> MakeBinary(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  const DType dtype = node.Input(0)->type.dtype;
  const BinaryRun run = FindBinaryRun(node, table, dtype);
  if (!run.run || !SameTypes(node)) return nullptr;
  const bool refuses_zero = (node.op->Is("Div") || node.op->Is("Mod")) && IsInteger(dtype);
  const Value *a = node.Input(0), *b = node.Input(1), *y = node.Output(0);
  const bool alike = y && y->type.HasRank() && a->type.shape == y->type.shape && b->type.shape == y->type.shape;
  return std::make_unique<BinaryKernel>(KernelName(node, table), run, refuses_zero, alike);
}

std::unique_ptr<Kernel> MakeVariadic(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  const DType dtype = node.Input(0)->type.dtype;
  const std::string_view name = node.op->name;
  // Sums of half-precision inputs are rounded once, which folding in the output would not do.
  const bool sums = name == "Sum" || name == "Mean";
  if (node.inputs.size() < 2 || !SameTypes(node) || (sums && dtype != DType::kFloat32)) return nullptr;
  const BinaryRun fold = FindBinaryRun(node, table, dtype);
  if (!fold.run) return nullptr;
  const BinaryRun divide = name == "Mean" ? FindBinaryRun(table, BinaryOp::kDiv, dtype) : BinaryRun{};
  return std::make_unique<VariadicKernel>(KernelName(node, table), fold, divide);
}

constexpr KernelEntry kEntries[] = {
    {"Add", MakeBinary},     {"Sub", MakeBinary},         {"Mul", MakeBinary},       {"Div", MakeBinary},
    {"Pow", MakeBinary},     {"PRelu", MakeBinary},       {"And", MakeBinary},       {"Or", MakeBinary},
    {"Xor", MakeBinary},     {"BitwiseAnd", MakeBinary},  {"BitwiseOr", MakeBinary}, {"BitwiseXor", MakeBinary},
    {"Mod", MakeBinary},     {"BitShift", MakeBinary},    {"Equal", MakeBinary},     {"Less", MakeBinary},
    {"Greater", MakeBinary}, {"LessOrEqual", MakeBinary}, {"Sum", MakeVariadic},     {"GreaterOrEqual", MakeBinary},
    {"Mean", MakeVariadic},  {"Max", MakeVariadic},       {"Min", MakeVariadic},
};

}  // namespace

std::span<const KernelEntry> BinaryKernels() { return kEntries; }

}  // namespace ziggurat::cpu
