// Pad: each axis has a map from output to input positions (-1: filled); rows are copied by the innermost axis.
#include <cstring>
#include <string>
#include <vector>

#include "cpu/ops/arguments.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"
#include "cpu/ops/strided.h"

namespace ziggurat::cpu {
namespace {

// The input position of output position `at` counted from the first kept one; `size` > 0 unless constant.
int64_t Mapped(const std::string& mode, int64_t at, int64_t size) {
  if (at >= 0 && at < size) return at;
  if (mode == "edge") return at < 0 ? 0 : size - 1;
  if (mode == "wrap") return ((at % size) + size) % size;
  if (mode == "reflect") {
    if (size == 1) return 0;
    const int64_t period = 2 * (size - 1), folded = ((at % period) + period) % period;
    return folded < size ? folded : period - folded;
  }
  return -1;
}

class PadKernel final : public Kernel {
 public:
  PadKernel(std::string mode, int64_t element_bytes)
      : name_(Cat("pad.", mode, ".", element_bytes * 8)), mode_(std::move(mode)), bytes_(element_bytes) {}
  std::string_view name() const override { return name_; }

  void Run(KernelContext& context) const override {
    const TensorView &x = context.inputs[0], &y = context.outputs[0];
    if (y.Count() == 0) return;
    const std::vector<std::vector<int64_t>> maps = Maps(context);
    const int rank = x.shape.rank();
    const int64_t row = rank ? y.shape[rank - 1] : 1, rows = y.Count() / row;
    std::byte fill[16] = {};
    if (context.inputs.size() > 2 && context.inputs[2].data)
      std::memcpy(fill, context.inputs[2].data, static_cast<size_t>(bytes_));
    ForRows(context.team, rows, row * bytes_, kCopyGrain, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        std::byte* to = y.As<std::byte>() + r * row * bytes_;
        const int64_t source = SourceRow(maps, x.shape, y.shape, r);
        if (source < 0)
          Fill(to, row, fill);
        else
          CopyRow(rank ? maps.back() : std::vector<int64_t>{0},
                  x.As<const std::byte>() + source * (rank ? x.shape[rank - 1] : 1) * bytes_, to, fill);
      }
    });
  }

 private:
  std::vector<std::vector<int64_t>> Maps(const KernelContext& context) const {
    const Shape &in = context.inputs[0].shape, &out = context.outputs[0].shape;
    const int rank = in.rank();
    std::vector<int64_t> begins(static_cast<size_t>(rank), 0);
    const auto pads = ReadInts(context.inputs[1]);
    std::vector<int64_t> axes;
    if (context.inputs.size() > 3 && context.inputs[3].data)
      axes = ReadInts(context.inputs[3]);
    else
      for (int axis = 0; axis < rank; ++axis) axes.push_back(axis);
    if (pads.size() != 2 * axes.size())
      throw Error(Code::kInvalidArgument, pads.size(), " pads for ", axes.size(), " axes");
    for (int64_t pad : pads)
      if (pad > kLargestPad || pad < -kLargestPad) throw Error(Code::kInvalidArgument, "a pad of ", pad);
    for (size_t i = 0; i < axes.size(); ++i) begins[static_cast<size_t>(ResolveAxis(axes[i], rank))] = pads[i];
    std::vector<std::vector<int64_t>> maps;
    for (int axis = 0; axis < rank; ++axis) {
      if (in[axis] == 0 && mode_ != "constant" && out[axis] > 0)
        throw Error(Code::kInvalidArgument, "axis ", axis, " has no elements to pad by mode ", mode_);
      maps.emplace_back();
      for (int64_t i = 0; i < out[axis]; ++i)
        maps.back().push_back(Mapped(mode_, i - begins[static_cast<size_t>(axis)], in[axis]));
    }
    return maps;
  }

  // The input row that output row `r` comes from, or -1.
  static int64_t SourceRow(const std::vector<std::vector<int64_t>>& maps, const Shape& in, const Shape& out,
                           int64_t r) {
    int64_t source = 0, stride = 1;
    for (int axis = in.rank() - 2; axis >= 0; --axis) {
      const int64_t at = maps[static_cast<size_t>(axis)][static_cast<size_t>(r % out[axis])];
      if (at < 0) return -1;
      source += at * stride;
      stride *= in[axis];
      r /= out[axis];
    }
    return source;
  }

  void Fill(std::byte* to, int64_t n, const std::byte* fill) const {
    for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * bytes_, fill, static_cast<size_t>(bytes_));
  }

  // Stretches that ascend by one are copied at once: the whole kept middle is one of them.
  void CopyRow(const std::vector<int64_t>& map, const std::byte* from, std::byte* to, const std::byte* fill) const {
    const auto n = static_cast<int64_t>(map.size());
    for (int64_t i = 0; i < n;) {
      int64_t length = 1;
      if (map[static_cast<size_t>(i)] < 0) {
        Fill(to + i * bytes_, 1, fill);
      } else {
        while (i + length < n && map[static_cast<size_t>(i + length)] == map[static_cast<size_t>(i)] + length) ++length;
        std::memcpy(to + i * bytes_, from + map[static_cast<size_t>(i)] * bytes_, static_cast<size_t>(length * bytes_));
      }
      i += length;
    }
  }

  // Keeps sums of positions and pads within 64 bits.
  static constexpr int64_t kLargestPad = int64_t{1} << 40;
  std::string name_, mode_;
  int64_t bytes_;
};

std::unique_ptr<Kernel> MakePad(KernelSite& site, const KernelTable&) {
  const Node& node = site.node();
  const auto bytes = static_cast<int64_t>(ByteSize(node.Input(0)->type.dtype));
  if (bytes == 0) return nullptr;
  return std::make_unique<PadKernel>(node.String("mode", "constant"), bytes);
}

constexpr KernelEntry kEntries[] = {{"Pad", MakePad}};

}  // namespace

std::span<const KernelEntry> PadKernels() { return kEntries; }

}  // namespace ziggurat::cpu
