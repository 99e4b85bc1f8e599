// Encoded blocks to strips and back. Formats of the blocks: tensor/encoding.h; of the strips: linear_formats.h.
#include "cpu/kernels/linear_formats.h"
#include "cpu/kernels/linear_parts.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

constexpr int kGroupSize = static_cast<int>(kLinearGroup);

// A block of one row: a code an element, and its scales as they stand in the file.
struct Block {
  uint8_t codes[256];
  uint16_t d, m;        // float16 bits; m: the minimum, or dmin
  uint8_t factors[16];  // of d: [8] a group, or [16] a half group
  uint8_t minimums[8];  // of dmin
};

uint16_t Read16(const uint8_t* p) {
  uint16_t value;
  __builtin_memcpy(&value, p, 2);
  return value;
}

// 16 bytes of nibbles: low ones are elements 0..15.
void ReadNibbles(const uint8_t* p, uint8_t* codes) {
  for (int i = 0; i < 16; ++i) codes[i] = p[i] & 15, codes[16 + i] = p[i] >> 4;
}

template <bool fifth, bool minimum>
void ReadLegacy(const uint8_t* block, Block* out) {
  out->d = Read16(block);
  if (minimum) out->m = Read16(block + 2);
  const uint8_t* bits = block + (minimum ? 4 : 2);
  ReadNibbles(bits + (fifth ? 4 : 0), out->codes);
  if (fifth)
    for (int i = 0; i < kGroupSize; ++i) out->codes[i] |= static_cast<uint8_t>((bits[i / 8] >> (i % 8) & 1) << 4);
}

void ReadQ8(const uint8_t* block, Block* out) {
  out->d = Read16(block);
  __builtin_memcpy(out->codes, block + 2, kGroupSize);
}

// 6-bit factors: the upper two bits of groups 4..7 lie above the lower six of groups 0..3.
void ReadFactors(const uint8_t* p, Block* out) {
  for (int j = 0; j < 4; ++j) {
    out->factors[j] = p[j] & 63;
    out->minimums[j] = p[j + 4] & 63;
    out->factors[j + 4] = static_cast<uint8_t>((p[j + 8] & 15) | (p[j] >> 6) << 4);
    out->minimums[j + 4] = static_cast<uint8_t>(p[j + 8] >> 4 | (p[j + 4] >> 6) << 4);
  }
}

template <bool fifth>
void ReadK(const uint8_t* block, Block* out) {
  out->d = Read16(block), out->m = Read16(block + 2);
  ReadFactors(block + 4, out);
  const uint8_t *high = block + 16, *nibbles = block + (fifth ? 48 : 16);
  for (int pair = 0; pair < 4; ++pair)
    for (int i = 0; i < kGroupSize; ++i) {
      const uint8_t byte = nibbles[pair * kGroupSize + i];
      uint8_t* codes = out->codes + pair * 2 * kGroupSize + i;
      codes[0] = byte & 15, codes[kGroupSize] = byte >> 4;
      if (fifth) {
        codes[0] |= static_cast<uint8_t>((high[i] >> (2 * pair) & 1) << 4);
        codes[kGroupSize] |= static_cast<uint8_t>((high[i] >> (2 * pair + 1) & 1) << 4);
      }
    }
}

void ReadQ6K(const uint8_t* block, Block* out) {
  for (int half = 0; half < 2; ++half)
    for (int part = 0; part < 4; ++part)
      for (int i = 0; i < kGroupSize; ++i) {
        const int low = block[half * 64 + part % 2 * kGroupSize + i] >> (part / 2 * 4) & 15;
        const int high = block[128 + half * kGroupSize + i] >> (2 * part) & 3;
        out->codes[half * 128 + part * kGroupSize + i] = static_cast<uint8_t>(low | high << 4);
      }
  __builtin_memcpy(out->factors, block + 192, 16);
  out->d = Read16(block + 208);
}

struct BlockForm {
  void (*read)(const uint8_t* block, Block* out);
  int bytes;
};
BlockForm FormOf(LinearFormat format) {
  switch (format) {
    case LinearFormat::kQ4_1:
      return {&ReadLegacy<false, true>, 20};
    case LinearFormat::kQ5_0:
      return {&ReadLegacy<true, false>, 22};
    case LinearFormat::kQ5_1:
      return {&ReadLegacy<true, true>, 24};
    case LinearFormat::kQ8_0:
      return {&ReadQ8, 34};
    case LinearFormat::kQ4_K:
      return {&ReadK<false>, 144};
    case LinearFormat::kQ5_K:
      return {&ReadK<true>, 176};
    case LinearFormat::kQ6_K:
      return {&ReadQ6K, 210};
    default:
      return {&ReadLegacy<false, false>, 18};
  }
}

// What the packer knows of a format beside its sizes.
enum class Planes { kNibbles, kFifth, kPairs, kBytes };
template <typename Format>
constexpr Planes PlanesOf() {
  constexpr int lines = Format::kGroupBytes / kLine;
  return lines == 8 ? Planes::kBytes : lines == 6 ? Planes::kPairs : lines == 5 ? Planes::kFifth : Planes::kNibbles;
}

// The codes of one group of row `row` into the group's lines.
template <typename Format>
void WriteCodes(const uint8_t* codes, int row, uint8_t* group) {
  constexpr Planes planes = PlanesOf<Format>();
  uint8_t* to = group + 4 * row;
  if (planes == Planes::kBytes) {
    for (int step = 0; step < kGroupSteps; ++step) __builtin_memcpy(to + step * kLine, codes + 4 * step, 4);
    return;
  }
  uint8_t nibbles[16];
  for (int i = 0; i < 16; ++i) nibbles[i] = static_cast<uint8_t>((codes[i] & 15) | (codes[16 + i] & 15) << 4);
  for (int line = 0; line < 4; ++line) __builtin_memcpy(to + line * kLine, nibbles + 4 * line, 4);
  to += 4 * kLine;
  for (int b = 0; planes == Planes::kFifth && b < 4; ++b) {
    int bits = 0;
    for (int step = 0; step < kGroupSteps; ++step) bits |= (codes[4 * step + b] >> 4) << step;
    to[b] = static_cast<uint8_t>(bits);
  }
  for (int line = 0; planes == Planes::kPairs && line < 2; ++line)
    for (int b = 0; b < 4; ++b) {
      int bits = 0;
      for (int step = 0; step < 4; ++step) bits |= (codes[16 * line + 4 * step + b] >> 4) << 2 * step;
      to[line * kLine + b] = static_cast<uint8_t>(bits);
    }
}

template <typename Format>
void ReadCodes(const uint8_t* group, int row, uint8_t* codes) {
  constexpr Planes planes = PlanesOf<Format>();
  const uint8_t *from = group + 4 * row, *upper = from + 4 * kLine;
  for (int i = 0; i < kGroupSize; ++i) {
    const int step = i / 4, b = i % 4;
    if (planes == Planes::kBytes) {
      codes[i] = from[step * kLine + b];
      continue;
    }
    int code = from[step % 4 * kLine + b] >> (step / 4 * 4) & 15;
    if (planes == Planes::kFifth) code |= (upper[b] >> step & 1) << 4;
    if (planes == Planes::kPairs) code |= (upper[step / 4 * kLine + b] >> (step % 4 * 2) & 3) << 4;
    codes[i] = static_cast<uint8_t>(code);
  }
}

// Where a row's scales lie in a record.
template <typename Format>
struct RecordOf {
  uint8_t* record;
  int row;

  uint8_t* D() const { return record + 2 * row; }
  uint8_t* M() const { return record + kHalves16 + 2 * row; }
  uint8_t* Factor(int i) const {
    constexpr int base = Format::kMinimum ? 2 * kHalves16 : kHalves16;
    return record + base + i * static_cast<int>(kStripRows) + row;
  }
  uint8_t* Minimum(int i) const { return Factor(Format::kRecordGroups + i); }
};

template <typename Format>
void WriteScales(const Block& block, const RecordOf<Format>& to) {
  __builtin_memcpy(to.D(), &block.d, 2);
  if (Format::kMinimum) __builtin_memcpy(to.M(), &block.m, 2);
  if (Format::kRecordGroups == 1) return;
  for (int i = 0; i < Format::kRecordGroups * Format::kScales; ++i) *to.Factor(i) = block.factors[i];
  for (int i = 0; Format::kMinimum && i < Format::kRecordGroups; ++i) *to.Minimum(i) = block.minimums[i];
}

template <typename Format>
void PackStrips(const PackLinearArgs& args) {
  const BlockForm form = FormOf(args.format);
  const int64_t blocks = args.k / (Format::kRecordGroups * kGroupSize);
  const uint8_t* source = static_cast<const uint8_t*>(args.blocks);
  for (int64_t strip = args.first_strip; strip < args.last_strip; ++strip) {
    uint8_t* records = reinterpret_cast<uint8_t*>(args.packed) + strip * StripBytes<Format>(args.k);
    uint8_t* codes = records + RecordsBytes<Format>(args.k);
    __builtin_memset(records, 0, StripBytes<Format>(args.k));
    for (int row = 0; row < kStripRows && strip * kStripRows + row < args.n; ++row) {
      const uint8_t* from = source + (strip * kStripRows + row) * blocks * form.bytes;
      for (int64_t b = 0; b < blocks; ++b, from += form.bytes) {
        Block block;
        form.read(from, &block);
        WriteScales<Format>(block, {records + b * Format::kRecordBytes, row});
        for (int i = 0; i < Format::kRecordGroups; ++i)
          WriteCodes<Format>(block.codes + i * kGroupSize, row,
                             codes + (b * Format::kRecordGroups + i) * Format::kGroupBytes);
      }
    }
  }
}

float Float16(const uint8_t* p) { return SumLanes(LoadF16N(reinterpret_cast<const uint16_t*>(p), 1)); }

// Products and sums as GGML's reference writes them: d q, d q + m, (d f) q, (d f) q - dmin f'.
template <typename Format>
void UnpackRow(const std::byte* packed, int64_t k, int64_t row, float* out) {
  const uint8_t* records = reinterpret_cast<const uint8_t*>(packed) + row / kStripRows * StripBytes<Format>(k);
  const uint8_t* group = records + RecordsBytes<Format>(k);
  constexpr bool factors = Format::kRecordGroups > 1;
  constexpr int zero = PlanesOf<Format>() == Planes::kBytes ? 0 : Format::kZero;
  for (int64_t g = 0; g < k / kLinearGroup; ++g, group += Format::kGroupBytes, out += kGroupSize) {
    const int i = static_cast<int>(g % Format::kRecordGroups);
    const RecordOf<Format> scales = {const_cast<uint8_t*>(records) + g / Format::kRecordGroups * Format::kRecordBytes,
                                     static_cast<int>(row % kStripRows)};
    uint8_t codes[kGroupSize];
    ReadCodes<Format>(group, static_cast<int>(row % kStripRows), codes);
    const float d = Float16(scales.D()), m = Format::kMinimum ? Float16(scales.M()) : 0.0f;
    for (int j = 0; j < kGroupSize; ++j) {
      const uint8_t factor = factors ? *scales.Factor(i * Format::kScales + j * Format::kScales / kGroupSize) : 0;
      const float step = !factors           ? d
                         : Format::kMinimum ? d * static_cast<float>(factor)
                                            : d * static_cast<float>(static_cast<int8_t>(factor));
      const int code = PlanesOf<Format>() == Planes::kBytes ? static_cast<int8_t>(codes[j]) : codes[j] - zero;
      const float value = step * static_cast<float>(code);
      out[j] = !Format::kMinimum ? value : factors ? value - m * static_cast<float>(*scales.Minimum(i)) : value + m;
    }
  }
}

}  // namespace

void PackLinear(const PackLinearArgs& args) {
  WithFormat(args.format, [&](auto format) { PackStrips<decltype(format)>(args); });
}

void UnpackLinearRow(LinearFormat format, const std::byte* packed, int64_t k, int64_t row, float* out) {
  WithFormat(format, [&](auto f) { UnpackRow<decltype(f)>(packed, k, row, out); });
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
