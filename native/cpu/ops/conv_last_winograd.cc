// Winograd's filtering of 3 x 3 convolutions whose channels come last.
#include <algorithm>
#include <vector>

#include "cpu/ops/conv_last.h"
#include "cpu/ops/conv_winograd.h"
#include "cpu/ops/gemm_tasks.h"
#include "cpu/ops/ranges.h"

namespace ziggurat::cpu {
namespace {

// V and M of a block together: half of a core's second-level cache.
constexpr int64_t kBlockFloats = 128 * 1024;
// Tiles of a block at least. Each block reads all weights: those that a core's cache keeps between blocks come cheaply,
// others at the speed of memory, for which every tile has one product an element.
constexpr int64_t kKeptWeights = 256 * 1024;
constexpr int64_t kLeastTiles = 28, kLeastTilesUnkept = 56;

class WinogradLastKernel final : public ConvLastBase {
 public:
  WinogradLastKernel(KernelSite& site, const KernelTable& table, const ConvLastNode& node, const ConvShape& conv,
                     int tile)
      : ConvLastBase(node, Cat("winograd", tile, "x3_last.float32.", table.isa)),
        kernels_(*table.matrix),
        last_(*table.matrix->last) {
    shape_.tile = tile;
    shape_.channels = conv.channels, shape_.out_channels = conv.out_channels;
    for (int i = 0; i < 2; ++i) {
      shape_.in[i] = conv.in[i + 1], shape_.out[i] = conv.out[i + 1];
      shape_.pad[i] = conv.pad[i + 1];
    }
    weight_step_ = PackedBFloats(kernels_, shape_.channels, shape_.out_channels);
    const TensorView weights = *site.ConstantInput(1);
    packed_ = site.Pack(1, Cat("winograd_last", tile, ".", kernels_.nr),
                        static_cast<size_t>(shape_.Positions() * weight_step_) * sizeof(float),
                        [&](std::byte* to) { PackWeights(weights.As<const float>(), reinterpret_cast<float*>(to)); });
  }

  // Of the direct sum, so that kernels can be compared.
  double Flops(std::span<const TensorView>, std::span<const TensorView> outputs) const override {
    return 18.0 * static_cast<double>(shape_.channels) * static_cast<double>(outputs[0].Count());
  }
  size_t ScratchBytes(std::span<const TensorView>, std::span<const TensorView>, int workers) const override {
    return static_cast<size_t>(LayOut(workers).worker_step * workers) * sizeof(float);
  }

  void Run(KernelContext& context) const override {
    const Layout layout = LayOut(context.team.size());
    WinogradLastArgs args;
    args.shape = shape_;
    args.weights = reinterpret_cast<const float*>(packed_->data()), args.weight_step = weight_step_;
    args.pixel = Pixel(context), args.out_pixel = OutPixel(context);
    args.v_step = layout.v_step, args.m_step = layout.m_step;
    args.v = reinterpret_cast<float*>(context.scratch), args.m = args.v + shape_.Positions() * args.v_step;
    const Epilogue epilogue = Finish(context);
    const auto block = [&](int64_t i) {
      const int64_t image = i / layout.blocks, part = i % layout.blocks, pixels = shape_.out[0] * shape_.out[1];
      WinogradLastArgs of = args;
      of.input = context.inputs[0].As<const float>() + image * shape_.in[0] * shape_.in[1] * args.pixel;
      of.output = context.outputs[0].As<float>() + image * pixels * args.out_pixel;
      of.epilogue = epilogue;
      if (epilogue.residual) of.epilogue.residual += image * pixels * epilogue.residual_row;
      of.first_tile = PartStart(Tiles(), layout.blocks, part);
      of.tiles = PartStart(Tiles(), layout.blocks, part + 1) - of.first_tile;
      return of;
    };
    const int64_t blocks = context.outputs[0].shape[0] * layout.blocks;
    if (layout.blocks == 1 || blocks < context.team.size() || context.team.size() == 1) {
      for (int64_t i = 0; i < blocks; ++i) RunBlock(context.team, block(i));
      return;
    }
    context.team.ParallelFor(blocks, [&](int64_t i, int worker) {
      WinogradLastArgs own = block(i);
      own.v += worker * layout.worker_step, own.m += worker * layout.worker_step;
      last_.winograd_input(own, 0, own.tiles);
      for (int p = 0; p < shape_.Positions(); ++p) last_.winograd_multiply(own, p, 0, Panels());
      last_.winograd_output(own, 0, own.tiles);
    });
  }

 private:
  // Blocks of an image's tiles, and where V and M of one lie in scratch memory, in floats. Several blocks are walked by
  // one worker each, which finds V and M in its own cache; a lone one is split at each stage, by weights in the middle.
  struct Layout {
    int64_t blocks = 1, v_step = 0, m_step = 0, worker_step = 0;
  };
  Layout LayOut(int workers) const {
    const int64_t tile_floats = shape_.Positions() * (shape_.channels + shape_.out_channels);
    const bool kept = shape_.Positions() * shape_.channels * shape_.out_channels <= kKeptWeights;
    const int64_t most = std::max(kept ? kLeastTiles : kLeastTilesUnkept, kBlockFloats / tile_floats);
    Layout layout;
    layout.blocks = (Tiles() + most - 1) / most;
    const int64_t even = RoundUp(layout.blocks, workers);
    if (layout.blocks > 1 && Tiles() / even >= kLeastTiles / 2) layout.blocks = even;
    const int64_t tiles = (Tiles() + layout.blocks - 1) / layout.blocks;
    layout.v_step = WinogradStep(shape_.channels, tiles), layout.m_step = WinogradStep(shape_.out_channels, tiles);
    layout.worker_step = shape_.Positions() * (layout.v_step + layout.m_step);
    return layout;
  }
  int64_t Tiles() const { return shape_.Tiles(0) * shape_.Tiles(1); }
  int64_t Panels() const { return (shape_.out_channels + kernels_.nr - 1) / kernels_.nr; }

  void PackWeights(const float* from, float* to) const {
    const int64_t pairs = shape_.channels * shape_.out_channels;
    std::vector<float> u(static_cast<size_t>(shape_.Positions() * pairs));
    for (int64_t i = 0; i < pairs; ++i) TransformWinogradWeights(from + i * 9, shape_.tile, u.data() + i, pairs);
    PackBArgs args;
    args.k = shape_.channels, args.n = shape_.out_channels;
    args.last_panel = (args.n + kernels_.nr - 1) / kernels_.nr;
    for (int p = 0; p < shape_.Positions(); ++p) {
      args.b = {u.data() + p * pairs, DType::kFloat32, 1, shape_.channels};  // [out channel][channel], transposed
      args.packed = to + p * weight_step_;
      kernels_.pack_b(args);
    }
  }

  void RunBlock(const Team& team, const WinogradLastArgs& block) const {
    const int64_t positions = shape_.Positions(), panels = Panels();
    ForRows(team, block.tiles, positions * shape_.channels, kCheapGrain,
            [&](int64_t first, int64_t last) { last_.winograd_input(block, first, last); });
    // Positions first: a cut inside one reads its V once more.
    const int64_t cuts = std::min(panels, (int64_t{2} * team.size() + positions - 1) / positions);
    const auto multiply = [&](int64_t i, int) {
      last_.winograd_multiply(block, static_cast<int>(i / cuts), PartStart(panels, cuts, i % cuts),
                              PartStart(panels, cuts, i % cuts + 1));
    };
    if (team.size() == 1)
      for (int64_t i = 0; i < positions * cuts; ++i) multiply(i, 0);
    else
      team.ParallelFor(positions * cuts, multiply);
    ForRows(team, block.tiles, positions * shape_.out_channels, kCheapGrain,
            [&](int64_t first, int64_t last) { last_.winograd_output(block, first, last); });
  }

  const MatrixKernels& kernels_;
  const LastConvKernels& last_;
  WinogradShape shape_;
  int64_t weight_step_ = 0;
  std::shared_ptr<const PackedWeight> packed_;
};

}  // namespace

std::unique_ptr<Kernel> MakeWinogradLast(KernelSite& site, const KernelTable& table, const ConvLastNode& node) {
  const Type &input = site.node().Input(0)->type, &output = site.node().Output(0)->type;
  if (node.conv.group != 1 || node.conv.axes != 2 || !input.HasRank() || !output.HasRank()) return nullptr;
  Shape in{1}, out{1};
  for (int i = 1; i < 4; ++i) {
    if (!(*input.shape)[i].IsConst() || !(*output.shape)[i].IsConst()) return nullptr;
    in.push_back((*input.shape)[i].Const()), out.push_back((*output.shape)[i].Const());
  }
  const ConvShape shape = node.Resolve(in, out);
  const int tile = WinogradTile(shape, table.matrix->nr / 2);
  return tile ? std::make_unique<WinogradLastKernel>(site, table, node, shape, tile) : nullptr;
}

}  // namespace ziggurat::cpu
