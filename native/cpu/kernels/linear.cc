// y = x w^T over packed strips, for one thread.
#include "cpu/kernels/linear.h"

#include "cpu/kernels/linear_parts.h"
#include "cpu/kernels/linear_tile.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// Groups of a panel: 16 groups of at most 704 bytes are 11 KiB, a third of the first-level cache. A multiple of every
// record.
constexpr int64_t kPanelGroups = 16;
// Tokens that share a pass over the weights: 256 tokens' 16 groups take 192 KiB of the second-level cache.
constexpr int64_t kPassTokens = 256;

// `ahead`: where the groups that will be unpacked next lie, in bytes from here.
template <typename Format>
void Unpack(const uint8_t* record, const uint8_t* group, int64_t groups, int64_t ahead, uint8_t* to) {
  for (int64_t g = 0; g < groups; group += Format::kGroupBytes, to += PanelOf<Format>::kGroupBytes) {
#pragma GCC unroll 8
    for (int step = 0; step < kGroupSteps; ++step)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        PrefetchFar(group + ahead + step * (Format::kGroupBytes / kGroupSteps));
        StoreCodes(Format::Codes(group, step, v), to + step * kLine + v * kVectorBytes);
      }
    float* floats = reinterpret_cast<float*>(to + kGroupSteps * kLine);
    for (int v = 0; v < kVectors; ++v) {
      const GroupScales s = Format::Scales(record, group, static_cast<int>(g % Format::kRecordGroups), v);
      for (int i = 0; i < Format::kScales; ++i) Store(s.scale[i], floats + i * kStripRows + v * kLanes);
      if (Format::kMinimum) Store(s.minimum, floats + Format::kScales * kStripRows + v * kLanes);
    }
    if (++g % Format::kRecordGroups == 0) record += Format::kRecordBytes;
  }
}

// All tokens of the pass through `tile`, whose pointers are those of token 0.
ZIGGURAT_INLINE void RunTiles(const LinearTileFn* tiles, LinearTile tile, int64_t tokens) {
  const int64_t count = (tokens + kMaxTokens - 1) / kMaxTokens, base = tokens / count, taller = tokens % count;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t height = base + (i < taller);
    tiles[height - 1](tile);
    tile.q += height * tile.q_row;
    tile.info += height * tile.info_row;
    tile.y += height * tile.y_row;
  }
}

template <typename Format>
class Product {
 public:
  explicit Product(const LinearArgs& args) : args_(args), groups_(args.k / kLinearGroup) {}

  void Run() const {
    if (groups_ == 0) return Empty();
    for (int64_t token = 0; token < args_.t; token += kPassTokens) {
      const int64_t tokens = args_.t - token < kPassTokens ? args_.t - token : kPassTokens;
      if (tokens >= kPanelTokens)
        Pass(token, tokens);
      else
        Stream(token, tokens);
    }
  }

 private:
  LinearTile TileOf(int64_t strip, int64_t token, int64_t group, int64_t groups) const {
    const uint8_t* packed = reinterpret_cast<const uint8_t*>(args_.packed) + strip * StripBytes<Format>(args_.k);
    const int64_t left = args_.n - strip * kStripRows;
    LinearTile tile;
    tile.records = packed + group / Format::kRecordGroups * Format::kRecordBytes;
    tile.codes = packed + RecordsBytes<Format>(args_.k) + group * Format::kGroupBytes;
    tile.groups = groups;
    tile.q = args_.q + token * args_.k + group * kLinearGroup, tile.q_row = args_.k;
    tile.info = args_.groups + token * groups_ + group, tile.info_row = groups_;
    tile.y = args_.y + token * args_.y_row + strip * kStripRows, tile.y_row = args_.y_row;
    tile.columns = static_cast<int>(left < kStripRows ? left : kStripRows);
    tile.accumulate = group > 0;
    tile.bias = group + groups == groups_ && args_.bias ? args_.bias + strip * kStripRows : nullptr;
    return tile;
  }

  // Few tokens read the weights as they come. Two tiles or more take turns every few groups, which then wait for the
  // second one in the first-level cache while the next are on their way from memory.
  void Stream(int64_t token, int64_t tokens) const {
    const int64_t step = tokens <= kMaxTokens ? groups_ : kPanelGroups;
    for (int64_t strip = args_.first_strip; strip < args_.last_strip; ++strip)
      for (int64_t group = 0; group < groups_; group += step) {
        const int64_t groups = groups_ - group < step ? groups_ - group : step;
        RunTiles(LinearTiles<Format>::kTiles, TileOf(strip, token, group, groups), tokens);
      }
  }

  // Groups outermost: the tokens' share of a few groups stays in the second-level cache while all strips pass.
  void Pass(int64_t token, int64_t tokens) const {
    alignas(kLine) uint8_t panel[kPanelGroups * PanelOf<Format>::kGroupBytes];
    for (int64_t group = 0; group < groups_; group += kPanelGroups) {
      const int64_t groups = groups_ - group < kPanelGroups ? groups_ - group : kPanelGroups;
      for (int64_t strip = args_.first_strip; strip < args_.last_strip; ++strip) {
        LinearTile tile = TileOf(strip, token, group, groups);
        if constexpr (Format::kSigned || Format::kGroupBytes == kGroupSteps * kLine) {
          RunTiles(LinearTiles<Format>::kTiles, tile, tokens);
        } else {
          Unpack<Format>(tile.records, tile.codes, groups, StripBytes<Format>(args_.k), panel);
          tile.codes = panel;
          RunTiles(LinearTiles<PanelOf<Format>>::kTiles, tile, tokens);
        }
      }
    }
  }

  // An empty sum is zero.
  void Empty() const {
    const int64_t last = args_.last_strip * kStripRows < args_.n ? args_.last_strip * kStripRows : args_.n;
    for (int64_t t = 0; t < args_.t; ++t)
      for (int64_t j = args_.first_strip * kStripRows; j < last; ++j)
        args_.y[t * args_.y_row + j] = args_.bias ? args_.bias[j] : 0.0f;
  }

  const LinearArgs& args_;
  const int64_t groups_;
};

void Multiply(const LinearArgs& args) {
  WithFormat(args.format, [&](auto format) { Product<decltype(format)>(args).Run(); });
}

int64_t StripBytesOf(LinearFormat format, int64_t k) {
  return WithFormat(format, [&](auto f) { return StripBytes<decltype(f)>(k); });
}

}  // namespace

extern const LinearKernels kLinearKernels;
const LinearKernels kLinearKernels = {
    .strip_bytes = &StripBytesOf,
    .pack = &PackLinear,
    .unpack_row = &UnpackLinearRow,
    .encode = &EncodeLinear,
    .quantize_input = &QuantizeInput,
    .multiply = &Multiply,
};

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
