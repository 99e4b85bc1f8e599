// Depthwise convolution of float32 tensors whose channels come last.
#include "cpu/ops/conv_last.h"
#include "cpu/ops/gemm_tasks.h"
#include "cpu/ops/ranges.h"

namespace ziggurat::cpu {
namespace {

// Channels of a unit of work: with maps of a few rows, rows alone would not divide evenly.
constexpr int64_t kUnitChannels = 256;

class DepthwiseLastKernel final : public ConvLastBase {
 public:
  DepthwiseLastKernel(KernelSite& site, const KernelTable& table, const ConvLastNode& node)
      : ConvLastBase(node, Cat("depthwise_last.float32.", table.isa)), last_(*table.matrix->last) {
    const TensorView weights = *site.ConstantInput(1);
    const int64_t taps = node_.Taps(), channels = node_.conv.group;
    packed_ = site.Pack(1, Cat("depthwise_last.", taps, ".", channels),
                        static_cast<size_t>(weights.Count()) * sizeof(float), [&](std::byte* to) {
                          for (int64_t c = 0; c < channels; ++c)
                            for (int64_t tap = 0; tap < taps; ++tap)
                              reinterpret_cast<float*>(to)[tap * channels + c] =
                                  weights.As<const float>()[c * taps + tap];
                        });
  }

  double Flops(std::span<const TensorView>, std::span<const TensorView> outputs) const override {
    return 2.0 * static_cast<double>(node_.Taps()) * static_cast<double>(outputs[0].Count());
  }

  void Run(KernelContext& context) const override {
    const TensorView& output = context.outputs[0];
    if (output.Count() == 0) return;
    DepthwiseLastArgs args;
    const ConvShape& s = args.shape = node_.Resolve(context.inputs[0].shape, output.shape);
    args.channels = node_.conv.group;
    args.pixel = Pixel(context), args.out_pixel = OutPixel(context);
    args.input = context.inputs[0].As<const float>();
    args.weights = reinterpret_cast<const float*>(packed_->data());
    args.output = output.As<float>();
    args.epilogue = Finish(context);
    const int64_t lines = output.shape[0] * s.out[0] * s.out[1];
    const int64_t chunks = (args.channels + kUnitChannels - 1) / kUnitChannels;
    const int64_t cost = s.out[2] * std::min(args.channels, kUnitChannels) * (s.K() / 4 + 1);
    const auto run = [&](int64_t chunk, int64_t first_line, int64_t last_line) {
      DepthwiseLastArgs part = args;
      part.first_line = first_line, part.last_line = last_line;
      part.first_channel = chunk * kUnitChannels;
      part.last_channel = std::min(args.channels, part.first_channel + kUnitChannels);
      last_.depthwise(part);
    };
    // By lines, as the steps around cut them: a core then reads what it wrote itself. A few lines are cut by channels.
    if (lines >= 4 * context.team.size()) {
      ForRows(context.team, lines, cost * chunks, kCheapGrain, [&](int64_t begin, int64_t end) {
        for (int64_t chunk = 0; chunk < chunks; ++chunk) run(chunk, begin, end);
      });
      return;
    }
    ForRows(context.team, lines * chunks, cost, kCheapGrain, [&](int64_t begin, int64_t end) {
      for (int64_t last; begin < end; begin = last) {
        const int64_t chunk = begin / lines;
        last = std::min(end, (chunk + 1) * lines);
        run(chunk, begin - chunk * lines, last - chunk * lines);
      }
    });
  }

 private:
  const LastConvKernels& last_;
  std::shared_ptr<const PackedWeight> packed_;  // [taps][channels]
};

}  // namespace

std::unique_ptr<Kernel> MakeDepthwiseLast(KernelSite& site, const KernelTable& table, const ConvLastNode& node) {
  if (node.conv.group == 1 || node.weights[0] != node.conv.group || node.weights[1] != 1) return nullptr;
  return std::make_unique<DepthwiseLastKernel>(site, table, node);
}

}  // namespace ziggurat::cpu
