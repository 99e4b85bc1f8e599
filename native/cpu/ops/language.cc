// Products and look-ups whose weights stay encoded: rows are decoded to float32 when they are needed.
//
// This Linear is the fallback of kernels that multiply encoded weights as they are: its arithmetic is the expansion's
// (float32, K in blocks of 128), a few rows of the weight at a time.
#include <algorithm>
#include <cstring>

#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"

namespace ziggurat::cpu {
namespace {

// Decodes rows of a weight: blocks, or 16-bit floats.
class WeightRows {
 public:
  WeightRows(const Type& type, const KernelTable& table) : encoding_(type.encoding), dtype_(type.dtype) {
    if (encoding_.IsPlain() && dtype_ != DType::kFloat32) widen_ = table.vector->cast.find(dtype_, DType::kFloat32);
  }
  std::string_view name() const {
    return encoding_.IsPlain() ? Name(dtype_) : std::string_view(FindGgmlFormat(encoding_.ggml_type)->name);
  }
  bool known() const { return !encoding_.IsPlain() || dtype_ == DType::kFloat32 || widen_; }

  void Decode(const TensorView& w, int64_t row, int64_t rows, float* out) const {
    const int64_t k = w.shape[1];
    if (rows * k == 0) return;
    const int64_t bytes = encoding_.IsPlain() ? k * static_cast<int64_t>(ByteSize(dtype_)) : GgmlRowBytes(encoding_, k);
    const std::byte* from = w.As<const std::byte>() + row * bytes;
    if (!encoding_.IsPlain())
      DequantizeGgml(encoding_, from, rows * k, out);
    else if (widen_)
      widen_(from, out, rows * k);
    else
      std::memcpy(out, from, static_cast<size_t>(rows * bytes));
  }

 private:
  Encoding encoding_;
  DType dtype_;
  CastFn widen_ = nullptr;
};

int64_t Lines(int64_t floats) { return RoundUp(floats, 16); }

class DecodingLinear final : public Kernel {
 public:
  DecodingLinear(const Node& node, const KernelTable& table)
      : rows_(node.Input(1)->type, table), kernels_(*table.matrix), name_(Cat("linear.decode.", rows_.name())) {}

  std::string_view name() const override { return name_; }
  size_t ScratchBytes(std::span<const TensorView> inputs, std::span<const TensorView>, int workers) const override {
    return static_cast<size_t>(workers * PerWorker(inputs[0].shape)) * sizeof(float);
  }
  double Flops(std::span<const TensorView> inputs, std::span<const TensorView> outputs) const override {
    return 2.0 * static_cast<double>(inputs[0].shape[1]) * static_cast<double>(outputs[0].Count());
  }

  void Run(KernelContext& context) const override {
    const TensorView &x = context.inputs[0], &w = context.inputs[1], &y = context.outputs[0];
    const int64_t m = x.shape[0], k = x.shape[1], n = w.shape[0], step = Step();
    if (m * n == 0) return;
    float* scratch = reinterpret_cast<float*>(context.scratch);
    context.team.ParallelFor((n + step - 1) / step, [&](int64_t task, int worker) {
      const int64_t first = task * step, count = std::min(step, n - first);
      float* decoded = scratch + worker * PerWorker(x.shape);
      float* packed = decoded + Lines(step * k);
      rows_.Decode(w, first, count, decoded);
      PackBArgs pack;
      pack.b = {decoded, DType::kFloat32, 1, k};
      pack.k = k, pack.n = count;
      pack.first_panel = 0, pack.last_panel = (count + kernels_.nr - 1) / kernels_.nr;
      pack.packed = packed;
      kernels_.pack_b(pack);
      GemmArgs args;
      args.m = m, args.n = count, args.k = k;
      args.a = {x.data, DType::kFloat32, k, 1};
      args.b = packed, args.b_step = kernels_.nr, args.b_panel = kernels_.nr * k;
      args.c = y.As<float>() + first, args.c_row = n;
      if (context.inputs.size() > 2 && context.inputs[2].data)
        args.epilogue.column_bias = context.inputs[2].As<const float>() + first;
      args.scratch = packed + Lines(step * k);
      kernels_.gemm(args);
    });
  }

 private:
  // Weight rows decoded at a time: whole panels, so that only the last of all is short.
  int64_t Step() const { return 4 * kernels_.nr; }
  int64_t PerWorker(const Shape& x) const {
    return 2 * Lines(Step() * x[1]) + Lines(kernels_.gemm_scratch(x[0], x[1]));
  }

  WeightRows rows_;
  const MatrixKernels& kernels_;
  std::string name_;
};

class EmbedKernel final : public Kernel {
 public:
  EmbedKernel(const Node& node, const KernelTable& table)
      : rows_(node.Input(0)->type, table), name_(Cat("embed.", rows_.name())) {}
  std::string_view name() const override { return name_; }
  void Run(KernelContext& context) const override {
    const TensorView &w = context.inputs[0], &ids = context.inputs[1], &y = context.outputs[0];
    const int64_t rows = w.shape[0], k = w.shape[1];
    const int64_t* id = ids.As<const int64_t>();
    for (int64_t i = 0; i < ids.Count(); ++i)
      if (id[i] < 0 || id[i] >= rows)
        throw Error(Code::kInvalidArgument, "id ", id[i], " at position ", i, " is out of range for ", rows, " rows");
    ForRows(context.team, ids.Count(), k, kCostlyGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) rows_.Decode(w, id[i], 1, y.As<float>() + i * k);
    });
  }

 private:
  WeightRows rows_;
  std::string name_;
};

std::unique_ptr<Kernel> MakeLinear(KernelSite& site, const KernelTable& table) {
  const Type& w = site.node().Input(1)->type;
  // Plain float32 is what Gemm packs once.
  if (w.encoding.IsPlain() && w.dtype == DType::kFloat32) return nullptr;
  if (!WeightRows(w, table).known()) return nullptr;
  return std::make_unique<DecodingLinear>(site.node(), table);
}

std::unique_ptr<Kernel> MakeEmbed(KernelSite& site, const KernelTable& table) {
  if (!WeightRows(site.node().Input(0)->type, table).known()) return nullptr;
  return std::make_unique<EmbedKernel>(site.node(), table);
}

constexpr KernelEntry kEntries[] = {{"Linear", &MakeLinear, "zig"}, {"Embed", &MakeEmbed, "zig"}};

}  // namespace

std::span<const KernelEntry> LanguageKernels() { return kEntries; }

}  // namespace ziggurat::cpu
