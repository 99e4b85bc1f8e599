#include "cpu/ops/conv_winograd.h"

#include <algorithm>
#include <string_view>

#include "cpu/kernels/matrix_winograd.h"
#include "cpu/ops/gemm_tasks.h"
#include "cpu/ops/ranges.h"

namespace ziggurat::cpu {

#if defined(__x86_64__)
namespace sse42 {
extern const WinogradKernels kWinogradKernels;
}
namespace avx2 {
extern const WinogradKernels kWinogradKernels;
}
namespace avx512 {
extern const WinogradKernels kWinogradKernels;
}
namespace avx512vnni {
extern const WinogradKernels kWinogradKernels;
}
#endif

namespace {

// The kernels that belong to a table; null where this build has none for it.
const WinogradKernels* FindWinograd(std::string_view isa) {
#if defined(__x86_64__)
  if (isa == "sse42") return &sse42::kWinogradKernels;
  if (isa == "avx2") return &avx2::kWinogradKernels;
  if (isa == "avx512") return &avx512::kWinogradKernels;
  if (isa == "avx512vnni") return &avx512vnni::kWinogradKernels;
#endif
  (void)isa;
  return nullptr;
}

// V and M of a block together: of the second-level caches of two cores, and of few weights streamed for nothing.
constexpr int64_t kBlockFloats = 256 * 1024;
constexpr int64_t kLeastTiles = 64;

// G of F(2,3) and F(4,3), row by row: what a weight's three taps become. The kernels' B and A belong to them.
constexpr double kG2[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
// Row of point p: (1, p, p^2) / product over the other points q of (p - q); points 0, 1, -1, 1/2, -2 and infinity.
constexpr double kG4[6][3] = {{1, 0, 0},
                              {1 / 3.0, 1 / 3.0, 1 / 3.0},
                              {-1 / 3.0, 1 / 3.0, -1 / 3.0},
                              {-16 / 15.0, -8 / 15.0, -4 / 15.0},
                              {1 / 15.0, -2 / 15.0, 4 / 15.0},
                              {0, 0, 1}};

class WinogradConv final : public Kernel {
 public:
  WinogradConv(KernelSite& site, const KernelTable& table, const ConvShape& conv, int tile, const Epilogue& epilogue)
      : kernels_(*table.matrix),
        winograd_(*FindWinograd(table.isa)),
        epilogue_(epilogue),
        flops_(2.0 * static_cast<double>(conv.K() * conv.out_channels)) {
    shape_.tile = tile;
    shape_.channels = conv.channels, shape_.out_channels = conv.out_channels;
    for (int i = 0; i < 2; ++i) {
      shape_.in[i] = conv.in[i + 1], shape_.out[i] = conv.out[i + 1];
      shape_.pad[i] = conv.pad[i + 1];
    }
    name_ = Cat("winograd", tile, "x3.float32.", table.isa);
    has_residual_ = site.node().Input(3) != nullptr;
    weight_step_ = PackedAFloats(kernels_, shape_.out_channels, shape_.channels);
    const TensorView weights = *site.ConstantInput(1);
    packed_ = site.Pack(1, Cat("winograd", tile, ".", kernels_.mr),
                        static_cast<size_t>(shape_.Positions() * weight_step_) * sizeof(float),
                        [&](std::byte* to) { PackWeights(weights.As<const float>(), reinterpret_cast<float*>(to)); });
    PlanBlocks();
  }

  std::string_view name() const override { return name_; }
  bool NeedsInput(int i) const override { return i != 1; }
  // Of the direct sum, so that kernels can be compared.
  double Flops(std::span<const TensorView>, std::span<const TensorView> outputs) const override {
    return flops_ / static_cast<double>(shape_.out_channels) * static_cast<double>(outputs[0].Count());
  }
  size_t ScratchBytes(std::span<const TensorView>, std::span<const TensorView>, int workers) const override {
    return static_cast<size_t>(VFloats() + MFloats() + workers * worker_floats_) * sizeof(float);
  }

  void Run(KernelContext& context) const override {
    const auto floats = [&](int i) -> const float* {
      return i < static_cast<int>(context.inputs.size()) ? context.inputs[i].As<const float>() : nullptr;
    };
    WinogradArgs args;
    args.shape = shape_;
    args.weights = reinterpret_cast<const float*>(packed_->data()), args.weight_step = weight_step_;
    args.v = reinterpret_cast<float*>(context.scratch), args.m = args.v + VFloats();
    args.scratch = args.m + MFloats();
    args.columns = columns_;
    const int64_t in = shape_.channels * shape_.in[0] * shape_.in[1];
    const int64_t out = shape_.out_channels * shape_.out[0] * shape_.out[1];
    for (int64_t image = 0; image < context.outputs[0].shape[0]; ++image) {
      args.input = floats(0) + image * in;
      args.output = context.outputs[0].As<float>() + image * out;
      args.epilogue = epilogue_;
      args.epilogue.row_bias = floats(2);
      args.epilogue.residual = has_residual_ ? floats(3) + image * out : nullptr;
      args.epilogue.residual_row = shape_.out[0] * shape_.out[1];
      for (args.first_row = 0; args.first_row < shape_.Tiles(0); args.first_row += block_rows_) {
        args.rows = std::min(block_rows_, shape_.Tiles(0) - args.first_row);
        RunBlock(context.team, args);
      }
    }
  }

 private:
  int64_t VFloats() const { return shape_.Positions() * WinogradStep(shape_.channels, columns_); }
  int64_t MFloats() const { return shape_.Positions() * WinogradStep(shape_.out_channels, columns_); }

  void PackWeights(const float* from, float* to) const {
    const int64_t pairs = shape_.channels * shape_.out_channels;
    std::vector<float> u(static_cast<size_t>(shape_.Positions() * pairs));
    for (int64_t i = 0; i < pairs; ++i) TransformWinogradWeights(from + i * 9, shape_.tile, u.data() + i, pairs);
    for (int p = 0; p < shape_.Positions(); ++p)
      kernels_.pack_a({u.data() + p * pairs, DType::kFloat32, shape_.channels, 1}, shape_.out_channels, shape_.channels,
                      to + p * weight_step_);
  }

  void PlanBlocks() {
    const int64_t across = shape_.Tiles(1), down = shape_.Tiles(0);
    const int64_t tile_floats = shape_.Positions() * (shape_.channels + shape_.out_channels);
    const int64_t tiles = std::max(kLeastTiles, kBlockFloats / tile_floats);
    const int64_t rows = std::clamp<int64_t>(tiles / across, 1, down), blocks = (down + rows - 1) / rows;
    block_rows_ = (down + blocks - 1) / blocks;
    columns_ = winograd_.columns(shape_, block_rows_);
    worker_floats_ = RoundUp(winograd_.scratch(shape_, block_rows_), 16);
  }

  void RunBlock(const Team& team, const WinogradArgs& block) const {
    const int64_t tiles = block.rows * shape_.Tiles(1);
    const auto own = [&](int worker) {
      WinogradArgs args = block;
      args.scratch += worker * worker_floats_;
      return args;
    };
    const auto split = [&](int64_t count, int64_t cost, auto&& run) {
      const int64_t wanted = team.size() == 1 ? 1 : std::min<int64_t>(count * cost / kCheapGrain, 4 * team.size());
      const int64_t parts = std::clamp<int64_t>(wanted, 1, count);
      if (parts == 1) return run(int64_t{0}, count, 0);
      team.ParallelFor(parts, [&](int64_t task, int worker) {
        run(PartStart(count, parts, task), PartStart(count, parts, task + 1), worker);
      });
    };
    const int64_t cost = tiles * shape_.Positions();
    split(shape_.channels, cost,
          [&](int64_t first, int64_t last, int worker) { winograd_.transform_input(own(worker), first, last); });
    // Positions first: a cut inside one reads its V once more.
    const int64_t row_tiles = TileRows(shape_.out_channels, kernels_.mr).count;
    const int64_t cuts = std::min(row_tiles, (int64_t{2} * team.size() + shape_.Positions() - 1) / shape_.Positions());
    split(shape_.Positions() * cuts, tiles * shape_.channels * shape_.out_channels / cuts / 8,
          [&](int64_t first, int64_t last, int) {
            for (int64_t i = first; i < last; ++i)
              winograd_.multiply(block, static_cast<int>(i / cuts), PartStart(row_tiles, cuts, i % cuts),
                                 PartStart(row_tiles, cuts, i % cuts + 1));
          });
    split(shape_.out_channels, cost,
          [&](int64_t first, int64_t last, int worker) { winograd_.transform_output(own(worker), first, last); });
  }

  std::string name_;
  const MatrixKernels& kernels_;
  const WinogradKernels& winograd_;
  Epilogue epilogue_;
  double flops_;  // of one output pixel of all channels
  WinogradShape shape_;
  bool has_residual_ = false;
  int64_t weight_step_ = 0, block_rows_ = 1, columns_ = 0, worker_floats_ = 0;
  std::shared_ptr<const PackedWeight> packed_;
};

}  // namespace

void TransformWinogradWeights(const float* g, int tile, float* u, int64_t step) {
  const int n = tile + 2;
  const auto row = [&](int i) { return tile == 2 ? kG2[i] : kG4[i]; };
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) {
      double sum = 0;
      for (int r = 0; r < 3; ++r)
        for (int c = 0; c < 3; ++c) sum += row(i)[r] * row(j)[c] * static_cast<double>(g[r * 3 + c]);
      u[(i * n + j) * step] = static_cast<float>(sum);
    }
}

// In register operations, two a cycle. Weights are counted as coming from memory at 6 bytes a cycle: with few tiles
// they are what a layer waits for. The factors stand for what gathering patches and ragged tiles cost.
int WinogradTile(const ConvShape& s, int64_t lanes) {
  for (int i : {1, 2})
    if (s.kernel[i] != 3 || s.stride[i] != 1 || s.dilation[i] != 1 || s.in[i] < 1 || s.out[i] < 4) return 0;
  if (s.kernel[0] != 1 || s.in[0] != 1 || s.pad[0] != 0 || s.stride[0] != 1) return 0;
  for (int i : {1, 2})
    if (s.pad[i] < 0) return 0;
  if (s.channels < 8 || s.out_channels < 8) return 0;
  const double pairs = static_cast<double>(s.channels * s.out_channels), wide = static_cast<double>(lanes);
  const auto padded = [&](int64_t columns) { return static_cast<double>(RoundUp(columns, lanes)) / wide; };
  const double weights = pairs * 4 / 3;
  const double direct = 9 * (padded(s.OutPixels()) * pairs * 1.25 + weights);
  const auto cost = [&](int tile) {
    const int64_t tiles = (s.out[1] + tile - 1) / tile * ((s.out[2] + tile - 1) / tile);
    const double transforms = static_cast<double>(6 * s.channels + 8 * s.out_channels) * padded(tiles);
    return (tile + 2) * (tile + 2) * (padded(tiles) * pairs * 1.1 + transforms + weights);
  };
  const double two = cost(2), four = cost(4);
  // F(4,3) has four times the weights and ten times the error: only where it gains much.
  const int tile = four < 0.75 * two ? 4 : 2;
  return std::min(two, tile == 4 ? four : two) < 0.85 * direct ? tile : 0;
}

std::unique_ptr<Kernel> MakeWinograd(KernelSite& site, const KernelTable& table, const ConvNode& conv,
                                     const Epilogue& epilogue) {
  const Node& node = site.node();
  const Type &input = node.Input(0)->type, &weights = node.Input(1)->type, &output = node.Output(0)->type;
  if (input.dtype != DType::kFloat32 || conv.group != 1 || conv.axes != 2 || !output.HasRank()) return nullptr;
  if (!FindWinograd(table.isa) || !weights.IsStatic() || !site.ConstantInput(1)) return nullptr;
  Shape in{1}, out{1};
  for (int i = 1; i < 4; ++i) {
    if (!(*input.shape)[i].IsConst() || !(*output.shape)[i].IsConst()) return nullptr;
    in.push_back((*input.shape)[i].Const()), out.push_back((*output.shape)[i].Const());
  }
  const ConvShape shape = conv.Resolve(in, weights.StaticShape(), out);
  const int tile = WinogradTile(shape, table.matrix->nr / 2);
  return tile ? std::make_unique<WinogradConv>(site, table, shape, tile, epilogue) : nullptr;
}

}  // namespace ziggurat::cpu
