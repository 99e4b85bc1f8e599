// zig.Linear with block-encoded weights: packed once into strips of rows, multiplied as they are. zig.Embed of the same
// weight reads the same strips, so that an embedding tied to the output projection is held once.
//
// The input's rows are quantised once and shared; workers take ranges of strips, which changes no bit.
#include "cpu/ops/linear.h"

#include <algorithm>

#include "cpu/ops/gemm_tasks.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"

namespace ziggurat::cpu {
namespace {

constexpr size_t Lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

bool IsEncoded(const Value& w) {
  return w.type.encoding.form == Encoding::Form::kGgmlBlock && w.IsConstant() && w.type.StaticShape().rank() == 2;
}

// The strips of constant input `i` of a node.
struct Strips {
  LinearFormat format;
  const char* name;
  int64_t n, k, count;
  std::shared_ptr<const PackedWeight> packed;

  Strips(KernelSite& site, int i, const LinearKernels& kernels) {
    const Type& type = site.node().Input(i)->type;
    format = static_cast<LinearFormat>(type.encoding.ggml_type);
    name = FindGgmlFormat(type.encoding.ggml_type)->name;
    n = type.StaticShape()[0], k = type.StaticShape()[1];
    count = (n + kStripRows - 1) / kStripRows;
    const int64_t bytes = count * kernels.strip_bytes(format, k);
    // The layout is the same for every instruction set; its kernels only read it in pieces of their own width.
    packed = site.Pack(i, Cat("linear.", name), static_cast<size_t>(bytes),
                       [&](std::byte* to) { kernels.pack({format, site.ConstantInput(i)->data, n, k, 0, count, to}); });
  }
};

class LinearKernel final : public Kernel {
 public:
  LinearKernel(KernelSite& site, const KernelTable& table)
      : kernels_(*table.linear), w_(site, 1, kernels_), name_(Cat("linear.", w_.name, ".", table.isa)) {}

  std::string_view name() const override { return name_; }
  bool NeedsInput(int i) const override { return i != 1; }
  double Flops(std::span<const TensorView> inputs, std::span<const TensorView>) const override {
    return 2.0 * static_cast<double>(inputs[0].shape[0]) * static_cast<double>(w_.n) * static_cast<double>(w_.k);
  }
  size_t ScratchBytes(std::span<const TensorView> inputs, std::span<const TensorView>, int) const override {
    const int64_t t = inputs[0].shape[0];
    return Lines(static_cast<size_t>(t * w_.k)) + static_cast<size_t>(t * Groups()) * sizeof(LinearGroup);
  }

  void Run(KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    LinearArgs args;
    args.format = w_.format;
    args.t = x.shape[0], args.n = w_.n, args.k = w_.k;
    if (args.t * args.n == 0) return;
    int8_t* q = reinterpret_cast<int8_t*>(context.scratch);
    auto* groups = reinterpret_cast<LinearGroup*>(context.scratch + Lines(static_cast<size_t>(args.t * args.k)));
    Quantize(context.team, x.As<const float>(), args.t, q, groups);
    args.packed = w_.packed->data();
    args.q = q, args.groups = groups;
    args.bias = context.inputs.size() > 2 ? context.inputs[2].As<const float>() : nullptr;
    args.y = context.outputs[0].As<float>(), args.y_row = args.n;
    const int64_t parts = Parts(args.t, context.team.size());
    const auto run = [&](int64_t part, int) {
      LinearArgs mine = args;
      mine.first_strip = PartStart(w_.count, parts, part);
      mine.last_strip = PartStart(w_.count, parts, part + 1);
      kernels_.multiply(mine);
    };
    if (parts == 1)
      run(0, 0);
    else
      context.team.ParallelFor(parts, run);
  }

 private:
  int64_t Groups() const { return w_.k / kLinearGroup; }

  void Quantize(const Team& team, const float* x, int64_t t, int8_t* q, LinearGroup* groups) const {
    const int64_t k = w_.k;
    ForRows(team, t, k, kCostlyGrain, [&](int64_t begin, int64_t end) {
      kernels_.quantize_input({w_.format, x + begin * k, k, end - begin, k, q + begin * k, groups + begin * Groups()});
    });
  }

  // In the microsecond of a fork-join a core reads some 10 KB of weights, or multiplies 10^5: ten times that is worth a
  // task. Two tasks a worker even out a worker that the OS delays.
  int64_t Parts(int64_t t, int workers) const {
    if (workers <= 1) return 1;
    const int64_t size = w_.n * w_.k, worth = std::max(size >> 18, t * size >> 20);
    return std::max<int64_t>(1, std::min<int64_t>({w_.count, worth, int64_t{2} * workers}));
  }

  const LinearKernels& kernels_;
  const Strips w_;
  std::string name_;
};

class StripEmbed final : public Kernel {
 public:
  StripEmbed(KernelSite& site, const KernelTable& table)
      : kernels_(*table.linear), w_(site, 0, kernels_), name_(Cat("embed.strips.", w_.name)) {}

  std::string_view name() const override { return name_; }
  bool NeedsInput(int i) const override { return i != 0; }
  void Run(KernelContext& context) const override {
    const TensorView& ids = context.inputs[1];
    CheckIds(ids, w_.n);
    float* y = context.outputs[0].As<float>();
    ForRows(context.team, ids.Count(), w_.k, kCostlyGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        kernels_.unpack_row(w_.format, w_.packed->data(), w_.k, ids.As<const int64_t>()[i], y + i * w_.k);
    });
  }

 private:
  const LinearKernels& kernels_;
  const Strips w_;
  std::string name_;
};

std::unique_ptr<Kernel> MakeLinear(KernelSite& site, const KernelTable& table) {
  if (!IsEncoded(*site.node().Input(1))) return nullptr;
  return std::make_unique<LinearKernel>(site, table);
}

std::unique_ptr<Kernel> MakeEmbed(KernelSite& site, const KernelTable& table) {
  const Value& w = *site.node().Input(0);
  if (!IsEncoded(w) || !FeedsLinear(w)) return nullptr;
  return std::make_unique<StripEmbed>(site, table);
}

constexpr KernelEntry kEntries[] = {{"Linear", &MakeLinear, "zig"}, {"Embed", &MakeEmbed, "zig"}};

}  // namespace

bool FeedsLinear(const Value& w) {
  return std::any_of(w.users.begin(), w.users.end(), [&](const Node* node) {
    return node->op->name == "Linear" && node->op->domain == "zig" && node->Input(1) == &w;
  });
}

void CheckIds(const TensorView& ids, int64_t rows) {
  for (int64_t i = 0; i < ids.Count(); ++i) {
    const int64_t id = ids.As<const int64_t>()[i];
    if (id < 0 || id >= rows)
      throw Error(Code::kInvalidArgument, "id ", id, " at position ", i, " is out of range for ", rows, " rows");
  }
}

std::span<const KernelEntry> LinearOpKernels() { return kEntries; }

}  // namespace ziggurat::cpu
