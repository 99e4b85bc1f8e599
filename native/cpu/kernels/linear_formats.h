// The packed formats as the tiles read them.
//
// A format offers, of a group of 32 k of 16 rows (a strip's rows are lanes):
//   kGroupBytes        of the codes
//   Codes(group, step, v)   lanes of register v: the codes of k = 4 step .. 4 step + 3, one a byte
//   kRecordBytes, kRecordGroups   the scale record and how many groups it serves
//   Scales(record, group, i, v)   d and m of group i of the record
//   kZero              z, 0 where the kernel has none to subtract
//   kSums              integer sums a group: 1, or 2 of 16 k each
//   kScales            d a group: 1, or 2 (then one a sum)
//   kMinimum           whether there is m
//   kSigned            codes are signed bytes
//
// Codes are lines of 64 bytes, four bytes a row. Nibbles: line i holds steps i (low) and i + 4 (high). A fifth bit:
// one line, bit s of byte b belongs to k = 4 s + b. Upper pairs of 6 bits: two lines, of steps 0..3 and 4..7, two bits
// a step likewise.
#pragma once

#include "cpu/kernels/linear_step.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

constexpr int kLine = 64;
constexpr int kGroupSteps = static_cast<int>(kLinearGroup) / 4;
constexpr int kHalves16 = static_cast<int>(kStripRows) * 2;  // bytes of a float16 a row

struct GroupScales {
  F32 scale[2];
  F32 minimum;
};

ZIGGURAT_INLINE const uint8_t* Lane(const uint8_t* line, int v) { return line + v * kVectorBytes; }
ZIGGURAT_INLINE F32 Half(const uint8_t* halves, int v) {
  return LoadF16(reinterpret_cast<const uint16_t*>(halves) + v * kLanes);
}

ZIGGURAT_INLINE I32 Nibbles(const uint8_t* group, int step, int v) {
  const I32 line = LoadCodes(Lane(group + step % 4 * kLine, v));
  return (step < 4 ? line : ShiftRightLogical<4>(line)) & SetI32(0x0f0f0f0f);
}

template <int left>
ZIGGURAT_INLINE I32 Shift(I32 a) {
  if constexpr (left > 0)
    return ShiftLeft<left>(a);
  else if constexpr (left < 0)
    return ShiftRightLogical<-left>(a);
  else
    return a;
}
// Steps are constants once loops are unrolled.
ZIGGURAT_INLINE I32 ShiftBy(I32 a, int left) {
  switch (left) {
    case 4:
      return Shift<4>(a);
    case 3:
      return Shift<3>(a);
    case 2:
      return Shift<2>(a);
    case 1:
      return Shift<1>(a);
    case -1:
      return Shift<-1>(a);
    case -2:
      return Shift<-2>(a);
    case -3:
      return Shift<-3>(a);
    default:
      return a;
  }
}

ZIGGURAT_INLINE I32 FifthBits(const uint8_t* group, int step, int v) {
  const I32 bits = LoadCodes(Lane(group + 4 * kLine, v));
  return ShiftBy(bits, 4 - step) & SetI32(0x10101010);
}
ZIGGURAT_INLINE I32 UpperPairs(const uint8_t* group, int step, int v) {
  const I32 bits = LoadCodes(Lane(group + (4 + step / 4) * kLine, v));
  return ShiftBy(bits, 4 - 2 * (step % 4)) & SetI32(0x30303030);
}

// d, and m where there is one, of each group.
template <bool minimum>
struct PlainScales {
  static constexpr int kRecordGroups = 1, kRecordBytes = kHalves16 * (minimum ? 2 : 1), kScales = 1;
  static constexpr bool kMinimum = minimum;
  ZIGGURAT_INLINE GroupScales Scales(const uint8_t* record, const uint8_t*, int, int v) {
    GroupScales s;
    s.scale[0] = Half(record, v);
    if (minimum) s.minimum = Half(record + kHalves16, v);
    return s;
  }
};

// d and dmin of 256 elements, then 8-bit factors of each group: [8][16] of d, [8][16] of dmin.
struct SuperScales {
  static constexpr int kRecordGroups = 8, kScales = 1;
  static constexpr int kRecordBytes = 2 * kHalves16 + 2 * kRecordGroups * static_cast<int>(kStripRows);
  static constexpr bool kMinimum = true;
  ZIGGURAT_INLINE GroupScales Scales(const uint8_t* record, const uint8_t*, int i, int v) {
    const uint8_t* factors = record + 2 * kHalves16 + i * kStripRows + v * kLanes;
    GroupScales s;
    s.scale[0] = Half(record, v) * ToF32(LoadU8(factors));
    s.minimum = Neg(Half(record + kHalves16, v) * ToF32(LoadU8(factors + kRecordGroups * kStripRows)));
    return s;
  }
};

// d of 256 elements, then signed 8-bit factors of each 16: [16][16].
struct SuperScales16 {
  static constexpr int kRecordGroups = 8, kScales = 2;
  static constexpr int kRecordBytes = kHalves16 + 2 * kRecordGroups * static_cast<int>(kStripRows);
  static constexpr bool kMinimum = false;
  ZIGGURAT_INLINE GroupScales Scales(const uint8_t* record, const uint8_t*, int i, int v) {
    const uint8_t* factors = record + kHalves16 + 2 * i * kStripRows + v * kLanes;
    GroupScales s;
    s.scale[0] = Half(record, v) * ToF32(LoadI8(factors));
    s.scale[1] = Half(record, v) * ToF32(LoadI8(factors + kStripRows));
    return s;
  }
};

template <int zero, typename ScalesOf>
struct FourBits : ScalesOf {
  static constexpr int kGroupBytes = 4 * kLine, kZero = zero, kSums = 1;
  static constexpr bool kSigned = false;
  ZIGGURAT_INLINE I32 Codes(const uint8_t* group, int step, int v) { return Nibbles(group, step, v); }
};

template <int zero, typename ScalesOf>
struct FiveBits : ScalesOf {
  static constexpr int kGroupBytes = 5 * kLine, kZero = zero, kSums = zero ? 1 : 2;
  static constexpr bool kSigned = false;
  ZIGGURAT_INLINE I32 Codes(const uint8_t* group, int step, int v) {
    return Nibbles(group, step, v) | FifthBits(group, step, v);
  }
};

struct SixBits : SuperScales16 {
  static constexpr int kGroupBytes = 6 * kLine, kZero = 32, kSums = 2;
  static constexpr bool kSigned = false;
  ZIGGURAT_INLINE I32 Codes(const uint8_t* group, int step, int v) {
    return Nibbles(group, step, v) | UpperPairs(group, step, v);
  }
};

// VNNI multiplies unsigned codes: c + 128 with z = 128.
struct EightBits : PlainScales<false> {
  static constexpr int kGroupBytes = 8 * kLine, kZero = kInt32Sums ? 128 : 0, kSums = 1;
  static constexpr bool kSigned = !kInt32Sums;
  ZIGGURAT_INLINE I32 Codes(const uint8_t* group, int step, int v) {
    const I32 codes = LoadCodes(Lane(group + step * kLine, v));
    return kInt32Sums ? codes ^ SetI32(static_cast<int32_t>(0x80808080u)) : codes;
  }
};

using Q4_0 = FourBits<8, PlainScales<false>>;
using Q4_1 = FourBits<0, PlainScales<true>>;
using Q5_0 = FiveBits<16, PlainScales<false>>;
using Q5_1 = FiveBits<0, PlainScales<true>>;
using Q8_0 = EightBits;
using Q4_K = FourBits<0, SuperScales>;
using Q5_K = FiveBits<0, SuperScales>;
using Q6_K = SixBits;

// A format's groups unpacked for many tokens: a code a byte, then d and m in float32.
template <int zero, int sums, int scales, bool minimum>
struct Panel {
  static constexpr int kGroupBytes = (kGroupSteps + scales + (minimum ? 1 : 0)) * kLine, kZero = zero, kSums = sums;
  static constexpr int kRecordGroups = 1, kRecordBytes = 0, kScales = scales;
  static constexpr bool kMinimum = minimum, kSigned = false;
  ZIGGURAT_INLINE I32 Codes(const uint8_t* group, int step, int v) { return LoadCodes(Lane(group + step * kLine, v)); }
  ZIGGURAT_INLINE GroupScales Scales(const uint8_t*, const uint8_t* group, int, int v) {
    const float* floats = reinterpret_cast<const float*>(group + kGroupSteps * kLine) + v * kLanes;
    GroupScales s;
    for (int i = 0; i < scales; ++i) s.scale[i] = Load(floats + i * kStripRows);
    if (minimum) s.minimum = Load(floats + scales * kStripRows);
    return s;
  }
};
template <typename Format>
using PanelOf = Panel<Format::kZero, Format::kSums, Format::kScales, Format::kMinimum>;

// Where a strip's codes begin, and its bytes.
template <typename Format>
constexpr int64_t RecordsBytes(int64_t k) {
  const int64_t bytes = k / kLinearGroup / Format::kRecordGroups * Format::kRecordBytes;
  return (bytes + kLine - 1) / kLine * kLine;
}
template <typename Format>
constexpr int64_t StripBytes(int64_t k) {
  return RecordsBytes<Format>(k) + k / kLinearGroup * Format::kGroupBytes;
}

// Calls fn(Format{}) with the format's type.
template <typename Fn>
ZIGGURAT_INLINE auto WithFormat(LinearFormat format, const Fn& fn) {
  switch (format) {
    case LinearFormat::kQ4_1:
      return fn(Q4_1{});
    case LinearFormat::kQ5_0:
      return fn(Q5_0{});
    case LinearFormat::kQ5_1:
      return fn(Q5_1{});
    case LinearFormat::kQ8_0:
      return fn(Q8_0{});
    case LinearFormat::kQ4_K:
      return fn(Q4_K{});
    case LinearFormat::kQ5_K:
      return fn(Q5_K{});
    case LinearFormat::kQ6_K:
      return fn(Q6_K{});
    default:
      return fn(Q4_0{});
  }
}

}  // namespace
}  // namespace ziggurat::cpu::ZIGGURAT_ISA
