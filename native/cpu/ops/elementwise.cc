// zig.Elementwise: a program of element-wise functions, run tile by tile.
#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "cpu/ops/broadcast.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"
#include "cpu/ops/tile_program.h"
#include "device/apart.h"
#include "ops/element_program.h"

namespace ziggurat::cpu {
namespace {

// Registers, and what streams through beside them, fit a first-level cache of 32 KiB.
constexpr int64_t kCacheBytes = 32 * 1024;
constexpr int64_t kLargestTile = 1024, kSmallestTile = 16;  // elements

// A row of what broadcasts that is at least so long is read where it lies, a tile within it; shorter ones are laid out.
constexpr int64_t kLongRow = 256;

constexpr size_t kMostPlaces = 256;

// Where a place lies for the tile at hand; with no step, its one element is that of every element of the tile.
struct Place {
  std::byte* data;
  bool steps;
};

// How an input reaches the elements of a launch.
struct Reach {
  enum class Kind : uint8_t { kWhole, kScalar, kBroadcast, kRows } kind = Kind::kWhole;
  std::byte* data = nullptr;
  int64_t bytes = 4;  // an element
  size_t broadcast = 0;
  int64_t width = 0, pitch = 0;  // kRows: elements of a row, and from one to the next
  bool is_spread = false;
};

// One launch: its operands, and the tile that they leave room for.
struct Launch {
  std::array<Reach, TileProgram::kMostOperands> inputs;
  std::array<std::byte*, TileProgram::kMostOperands> outputs{};
  std::vector<Broadcast> broadcasts;
  int64_t row = 0;   // of all that broadcasts; 0: they differ, or nothing does
  int64_t tile = 0;  // whole short rows, or a piece of a long one

  bool RowIsLong() const { return row >= kLongRow; }
};

// Rows, and with them tiles: each input's own, where they agree.
void ChooseTile(Launch& launch, int64_t fitting) {
  bool differ = false;
  const auto meet = [&](int64_t row) {
    differ |= launch.row > 0 && launch.row != row;
    launch.row = row;
  };
  for (const Broadcast& broadcast : launch.broadcasts) meet(broadcast.inner());
  for (const Reach& reach : launch.inputs)
    if (reach.kind == Reach::Kind::kRows) meet(reach.width);
  if (differ) launch.row = 0;
  launch.tile = std::clamp(fitting / kSmallestTile * kSmallestTile, kSmallestTile, kLargestTile);
  if (launch.RowIsLong()) {
    const int64_t pieces = (launch.row + launch.tile - 1) / launch.tile, piece = (launch.row + pieces - 1) / pieces;
    launch.tile = std::min(launch.tile, (piece + kSmallestTile - 1) / kSmallestTile * kSmallestTile);
  } else if (launch.row > launch.tile) {
    launch.row = 0;
  } else if (launch.row > 0) {
    launch.tile = launch.tile / launch.row * launch.row;
  }
}

// Of the operand's first element that output element `at` reads.
int64_t OffsetAt(const Broadcast& b, int64_t at) {
  int64_t offset = 0;
  for (int axis = b.rank - 1; axis >= 0; --axis) {
    offset += at % b.dims[static_cast<size_t>(axis)] * b.strides[0][static_cast<size_t>(axis)];
    at /= b.dims[static_cast<size_t>(axis)];
  }
  return offset;
}

void Fill(std::byte* y, int64_t n, int bytes) {
  if (bytes == 1) {
    std::memset(y + 1, static_cast<int>(y[0]), static_cast<size_t>(n - 1));
    return;
  }
  float value;
  std::memcpy(&value, y, sizeof value);
  std::fill_n(reinterpret_cast<float*>(y), n, value);
}

void RunBinary(const TileOp& op, const Place& a, const Place& b, std::byte* y, int64_t n) {
  if (a.steps && b.steps) return op.binary(a.data, b.data, y, n, Form::kBoth);
  if (a.steps) return op.binary(a.data, b.data, y, n, Form::kScalarB);
  if (b.steps) return op.binary(a.data, b.data, y, n, Form::kScalarA);
  op.binary(a.data, b.data, y, 1, Form::kBoth);
  Fill(y, n, op.result_bytes);
}

float BoundAt(const Place* places, int place, float absent) {
  float bound = absent;
  if (place >= 0) std::memcpy(&bound, places[place].data, sizeof bound);
  return bound;
}

void RunOp(const TileOp& op, const Place* places, int64_t n) {
  const Place& a = places[op.from[0]];
  std::byte* y = places[op.to].data;
  switch (op.kind) {
    case TileOp::Kind::kUnary:
      return op.unary(a.data, y, n, op.params);
    case TileOp::Kind::kClip: {
      constexpr float kInfinity = std::numeric_limits<float>::infinity();
      return op.unary(a.data, y, n, {BoundAt(places, op.from[1], -kInfinity), BoundAt(places, op.from[2], kInfinity)});
    }
    case TileOp::Kind::kBinary:
      return RunBinary(op, a, places[op.from[1]], y, n);
    case TileOp::Kind::kSelect: {
      const Place &yes = places[op.from[1]], &no = places[op.from[2]];
      return op.select({reinterpret_cast<const bool*>(a.data), yes.data, no.data, y, n, a.steps, yes.steps, no.steps});
    }
    case TileOp::Kind::kCast:
      return op.cast(a.data, y, n);
  }
}

class ElementwiseKernel final : public Kernel, public ReadsApart {
 public:
  ElementwiseKernel(std::string name, TileProgram program) : name_(std::move(name)), program_(std::move(program)) {
    // A task is worth as many additions as one of an op by itself is.
    grain_ = std::max<int64_t>(kCheapGrain / program_.Cost(), 256);
  }
  std::string_view name() const override { return name_; }
  bool TakesApart(int input) const override { return program_.is_whole[static_cast<size_t>(input)]; }
  int InPlaceInput(int output) const override { return program_.in_place[static_cast<size_t>(output)]; }
  double Flops(std::span<const TensorView>, std::span<const TensorView> outputs) const override {
    return static_cast<double>(program_.ops.size()) * static_cast<double>(outputs[0].Count());
  }

  void Run(KernelContext& context) const override {
    const int64_t count = context.outputs[0].Count();
    if (count == 0) return;
    const Launch launch = Prepare(context, count);
    const int64_t step = launch.row > 0 && !launch.RowIsLong() ? launch.row : 64;
    ForRanges(context.team, count, grain_, step, [&](int64_t begin, int64_t end) { RunRange(launch, begin, end); });
  }

 private:
  Launch Prepare(const KernelContext& context, int64_t count) const {
    Launch launch;
    const Shape& shape = context.outputs[0].shape;
    int64_t registers = program_.registers * 4, streams = 0;
    for (size_t o = 0; o < context.outputs.size(); ++o) {
      if (!(context.outputs[o].shape == shape))
        throw Error(Code::kInvalidArgument, "results have shapes ", shape, " and ", context.outputs[o].shape);
      launch.outputs[o] = context.outputs[o].As<std::byte>();
      streams += program_.output_bytes[o];
    }
    for (size_t i = 0; i < context.inputs.size(); ++i) {
      const TensorView& input = context.inputs[i];
      Reach& reach = launch.inputs[i];
      reach.data = input.As<std::byte>();
      reach.bytes = static_cast<int64_t>(ByteSize(input.dtype));
      reach.is_spread = program_.is_spread[i];
      const int64_t elements = input.Count();
      if (program_.is_bound[i] && elements != 1)
        throw Error(Code::kInvalidArgument, "a bound has shape ", input.shape, ", not one element");
      if (!program_.is_operand[i]) {
        reach.kind = Reach::Kind::kScalar;
      } else if (elements == count && InputPitch(i, 0)) {
        reach.kind = Reach::Kind::kRows;
        reach.width = shape[shape.rank() - 1], reach.pitch = InputPitch(i, 0);
        registers += reach.bytes;
      } else if (elements == count) {
        streams += reach.bytes;
      } else if (elements == 1 && !program_.is_spread[i]) {
        reach.kind = Reach::Kind::kScalar;
      } else {
        reach.kind = Reach::Kind::kBroadcast;
        reach.broadcast = launch.broadcasts.size();
        const Shape* const shapes[] = {&input.shape};
        launch.broadcasts.emplace_back(shapes, shape);
        registers += reach.bytes;
      }
    }
    ChooseTile(launch, kCacheBytes / std::max<int64_t>(registers + streams, 1));
    return launch;
  }

  void RunRange(const Launch& launch, int64_t begin, int64_t end) const {
    alignas(64) std::byte memory[kCacheBytes];
    std::array<Place, kMostPlaces> places;
    std::byte* next = memory;
    const int first_register = program_.inputs + program_.outputs, first_constant = first_register + program_.registers;
    for (int r = first_register; r < first_constant; ++r, next += launch.tile * 4)
      places[static_cast<size_t>(r)] = {next, true};
    std::array<float, kMaxProgram> constants;
    for (size_t c = 0; c < program_.constants.size(); ++c) {
      constants[c] = program_.constants[c];
      places[static_cast<size_t>(first_constant) + c] = {reinterpret_cast<std::byte*>(&constants[c]), false};
    }
    for (int64_t at = begin, n = 0; at < end; at += n) {
      n = std::min(launch.tile, end - at);
      if (launch.RowIsLong()) n = std::min(n, launch.row - at % launch.row);
      std::byte* spare = next;
      for (int i = 0; i < program_.inputs; ++i)
        places[static_cast<size_t>(i)] =
            InputAt(launch, launch.inputs[static_cast<size_t>(i)], at, n, at == begin, spare);
      for (int o = 0; o < program_.outputs; ++o)
        places[static_cast<size_t>(program_.inputs + o)] = {
            launch.outputs[static_cast<size_t>(o)] + at * program_.output_bytes[static_cast<size_t>(o)], true};
      for (const TileOp& op : program_.ops) RunOp(op, places.data(), n);
    }
  }

  // `spare` moves behind what is laid out for the tile.
  static Place InputAt(const Launch& launch, const Reach& reach, int64_t at, int64_t n, bool first, std::byte*& spare) {
    if (reach.kind == Reach::Kind::kWhole) return {reach.data + at * reach.bytes, true};
    if (reach.kind == Reach::Kind::kScalar) return {reach.data, false};
    if (reach.kind == Reach::Kind::kRows) return RowsAt(launch, reach, at, n, spare);
    const Broadcast& broadcast = launch.broadcasts[reach.broadcast];
    const bool steps = broadcast.Steps(0);
    std::byte* tile = spare;
    spare += launch.tile * reach.bytes;
    if (n <= broadcast.inner() - at % broadcast.inner() && (steps || !reach.is_spread))
      return {reach.data + OffsetAt(broadcast, at) * reach.bytes, steps};
    // Tiles of whole rows see the same of a vector that is every row's: the first, the longest, is laid out for all.
    const bool repeats = launch.row > 0 && broadcast.rank == 2 && broadcast.strides[0][0] == 0;
    if (first || !repeats) GatherTile(broadcast, 0, reach.data, reach.bytes, at, n, tile);
    return {tile, true};
  }

  // A piece of a row where it lies; of shorter rows one after the other, in the tile.
  static Place RowsAt(const Launch& launch, const Reach& reach, int64_t at, int64_t n, std::byte*& spare) {
    std::byte* tile = spare;
    spare += launch.tile * reach.bytes;
    const int64_t row = at / reach.width;
    int64_t column = at - row * reach.width;
    std::byte* from = reach.data + (row * reach.pitch + column) * reach.bytes;
    if (column + n <= reach.width) return {from, true};
    // The next tile's rows are fetched meanwhile: gaps between rows end the processor's own streams, and a map that
    // comes from memory took twice as long.
    const int64_t ahead = n / reach.width * reach.pitch * reach.bytes;
    for (std::byte* to = tile; n > 0; column = 0) {
      const int64_t part = std::min(n, reach.width - column);
      for (int64_t i = 0; i < part * reach.bytes; i += 64) __builtin_prefetch(from + ahead + i);
      std::memcpy(to, from, static_cast<size_t>(part * reach.bytes));
      to += part * reach.bytes, n -= part;
      from += (reach.pitch - column) * reach.bytes;
    }
    return {tile, true};
  }

  std::string name_;
  TileProgram program_;
  int64_t grain_;
};

// "elementwise.Sigmoid+Mul+5.avx512": the first ops, and how many follow.
std::string KernelName(const Node& node, const KernelTable& table) {
  constexpr size_t kNamed = 6;
  const ElementProgram program = ReadElementProgram(node);
  std::string name = "elementwise";
  const size_t count = program.instructions.size();
  for (size_t i = 0; i < std::min(count, kNamed); ++i) name += Cat(i ? "+" : ".", program.instructions[i].op->name);
  if (count > kNamed) name += Cat("+", count - kNamed);
  return Cat(name, ".", table.isa);
}

std::unique_ptr<Kernel> MakeElementwise(KernelSite& site, const KernelTable& table) {
  auto program = MakeTileProgram(site.node(), table);
  if (!program || static_cast<size_t>(program->places()) > kMostPlaces) return nullptr;
  return std::make_unique<ElementwiseKernel>(KernelName(site.node(), table), std::move(*program));
}

constexpr KernelEntry kEntries[] = {{"Elementwise", MakeElementwise, "zig"}};

}  // namespace

std::span<const KernelEntry> ElementwiseOpKernels() { return kEntries; }

}  // namespace ziggurat::cpu
