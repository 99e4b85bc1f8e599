// Transpose: by blocks where the innermost axis moves, by runs where it stays.
#include <algorithm>
#include <string>
#include <vector>

#include "cpu/ops/arguments.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"
#include "cpu/ops/strided.h"

namespace ziggurat::cpu {
namespace {

// One axis of the output, outermost first, in elements of the input and the output.
struct Axis {
  int64_t size, from_stride, to_stride;
};

// The output's axes without those of size 1, neighbours that stay neighbours merged.
std::vector<Axis> MergedAxes(const Shape& shape, const std::vector<int>& permutation) {
  const auto strides = ContiguousStrides(shape);
  std::vector<Axis> axes;
  for (int source : permutation) {
    if (shape[source] == 1) continue;
    if (!axes.empty() && axes.back().from_stride == shape[source] * strides[source]) {
      axes.back().size *= shape[source];
      axes.back().from_stride = strides[source];
    } else {
      axes.push_back({shape[source], strides[source], 0});
    }
  }
  int64_t step = 1;
  for (size_t i = axes.size(); i-- > 0;) axes[i].to_stride = step, step *= axes[i].size;
  return axes;
}

class TransposeKernel final : public Kernel {
 public:
  TransposeKernel(const KernelTable& table, std::vector<int64_t> permutation, int64_t element_bytes)
      : name_(Cat("transpose.", element_bytes * 8, ".", table.isa)),
        transpose_(table.vector->moves.transpose),
        permutation_(std::move(permutation)),
        element_bytes_(element_bytes) {}
  std::string_view name() const override { return name_; }

  void Run(KernelContext& context) const override {
    const TensorView &x = context.inputs[0], &y = context.outputs[0];
    if (y.Count() == 0) return;
    std::vector<Axis> axes = MergedAxes(x.shape, Permutation(x.shape.rank()));
    int64_t bytes = element_bytes_;
    // A short innermost run that stays is one wide element.
    if (axes.size() > 1 && axes.back().from_stride == 1) {
      const int64_t run = axes.back().size, wide = bytes * run;
      if (wide == 2 || wide == 4 || wide == 8) {
        axes.pop_back();
        for (Axis& axis : axes) axis.from_stride /= run, axis.to_stride /= run;
        bytes = wide;
      }
    }
    const std::byte* from = x.As<const std::byte>();
    std::byte* to = y.As<std::byte>();
    if (axes.empty() || axes.back().from_stride == 1 || bytes > 8) return Copy(context.team, axes, bytes, from, to);
    Blocks(context.team, axes, bytes, from, to);
  }

 private:
  std::vector<int> Permutation(int rank) const {
    std::vector<int> permutation(rank);
    for (int i = 0; i < rank; ++i)
      permutation[i] = permutation_.empty() ? rank - 1 - i : static_cast<int>(permutation_[i]);
    return permutation;
  }

  static void Copy(const Team& team, const std::vector<Axis>& axes, int64_t bytes, const std::byte* from,
                   std::byte* to) {
    StridedSource source{from, bytes, {}, {}};
    for (const Axis& axis : axes) {
      source.strides[source.dims.rank()] = axis.from_stride;
      source.dims.push_back(axis.size);
    }
    CopyStrided(team, source, to);
  }

  // The output's innermost axis ("rows" of the input) against the input's innermost ("columns").
  void Blocks(const Team& team, std::vector<Axis>& axes, int64_t bytes, const std::byte* from, std::byte* to) const {
    const Axis rows = axes.back();
    axes.pop_back();
    const auto innermost = std::find_if(axes.begin(), axes.end(), [](const Axis& a) { return a.from_stride == 1; });
    const Axis columns = *innermost;
    axes.erase(innermost);
    int64_t outer = 1;
    for (const Axis& axis : axes) outer *= axis.size;
    constexpr int64_t kStrip = 64;
    const int64_t strips = (rows.size + kStrip - 1) / kStrip;
    ForRows(team, outer * strips, kStrip * columns.size * bytes, kCopyGrain, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        int64_t rest = task / strips, from_offset = 0, to_offset = 0;
        for (size_t i = axes.size(); i-- > 0;) {
          const int64_t index = rest % axes[i].size;
          rest /= axes[i].size;
          from_offset += index * axes[i].from_stride, to_offset += index * axes[i].to_stride;
        }
        const int64_t row = task % strips * kStrip;
        transpose_(static_cast<int>(bytes), from + (from_offset + row * rows.from_stride) * bytes, rows.from_stride,
                   to + (to_offset + row) * bytes, columns.to_stride, std::min(kStrip, rows.size - row), columns.size);
      }
    });
  }

  std::string name_;
  void (*transpose_)(int, const void*, int64_t, void*, int64_t, int64_t, int64_t);
  std::vector<int64_t> permutation_;
  int64_t element_bytes_;
};

std::unique_ptr<Kernel> MakeTranspose(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  const auto bytes = static_cast<int64_t>(ByteSize(node.Input(0)->type.dtype));
  if (bytes == 0 || !node.Input(0)->type.HasRank()) return nullptr;
  return std::make_unique<TransposeKernel>(table, node.Ints("perm"), bytes);
}

constexpr KernelEntry kEntries[] = {{"Transpose", MakeTranspose}};

}  // namespace

std::span<const KernelEntry> TransposeKernels() { return kEntries; }

}  // namespace ziggurat::cpu
