// Conversions between float and the narrow element types: float16, bfloat16, the 8-, 6- and 4-bit floats, the
// exponent-only E8M0, and the 4- and 2-bit integers that are held one a byte.
//
// Rounding is to nearest, ties to even, in one step from double (a float converts to double exactly, so there is no
// second rounding). Out of range gives infinity where the format has one, NaN where it has only that, otherwise the
// largest number; `saturate` asks for the largest number always (ONNX Cast's attribute). NaNs come out canonical.
//
// Everything here is `static`: kernel units compiled per instruction set may include it and leak no symbol.
#pragma once

#include <bit>
#include <cstdint>

#include "tensor/dtype.h"

namespace ziggurat {

// What the codes above the finite numbers mean.
enum class Specials : uint8_t {
  kIeee,    // an all-ones exponent is infinity and NaN
  kFn,      // no infinity; the all-ones code is NaN, in both signs
  kFnuz,    // no infinity, no negative zero: that code is the only NaN
  kFinite,  // neither infinity nor NaN
};

struct FloatFormat {
  int exponent_bits, mantissa_bits, bias;
  Specials specials;

  constexpr int Bits() const { return 1 + exponent_bits + mantissa_bits; }
  constexpr uint32_t SignBit() const { return 1u << (exponent_bits + mantissa_bits); }
  constexpr uint32_t Infinity() const { return ((1u << exponent_bits) - 1) << mantissa_bits; }  // kIeee
  constexpr uint32_t MaxCode() const {
    if (specials == Specials::kIeee) return Infinity() - 1;
    return SignBit() - (specials == Specials::kFn ? 2 : 1);
  }
  constexpr uint32_t NanCode() const {
    if (specials == Specials::kIeee) return Infinity() | 1u << (mantissa_bits - 1);
    return specials == Specials::kFn ? SignBit() - 1 : SignBit();
  }
};

static constexpr FloatFormat kFormatFloat16{5, 10, 15, Specials::kIeee};
static constexpr FloatFormat kFormatBFloat16{8, 7, 127, Specials::kIeee};
static constexpr FloatFormat kFormatE4M3FN{4, 3, 7, Specials::kFn};
static constexpr FloatFormat kFormatE4M3FNUZ{4, 3, 8, Specials::kFnuz};
static constexpr FloatFormat kFormatE5M2{5, 2, 15, Specials::kIeee};
static constexpr FloatFormat kFormatE5M2FNUZ{5, 2, 16, Specials::kFnuz};
static constexpr FloatFormat kFormatE2M1{2, 1, 1, Specials::kFinite};
static constexpr FloatFormat kFormatE2M3{2, 3, 1, Specials::kFinite};
static constexpr FloatFormat kFormatE3M2{3, 2, 3, Specials::kFinite};

// The value of a code; exact. Bits above the format's width are ignored.
template <const FloatFormat& F>
static inline float DecodeFloat(uint32_t code) {
  const uint32_t sign = (code & F.SignBit()) ? 0x80000000u : 0;
  const uint32_t magnitude = code & (F.SignBit() - 1);
  if (F.specials == Specials::kIeee && magnitude >= F.Infinity())
    return std::bit_cast<float>(sign | (magnitude == F.Infinity() ? 0x7f800000u : 0x7fc00000u));
  if (F.specials == Specials::kFn && magnitude == F.SignBit() - 1) return std::bit_cast<float>(sign | 0x7fc00000u);
  if (F.specials == Specials::kFnuz && sign && magnitude == 0) return std::bit_cast<float>(0x7fc00000u);
  const uint32_t exponent = magnitude >> F.mantissa_bits;
  const uint32_t mantissa = magnitude & ((1u << F.mantissa_bits) - 1);
  if (exponent == 0) {  // mantissa * 2^(1 - bias - mantissa_bits), in double because 2^-133 is a subnormal float
    const double unit = std::bit_cast<double>(static_cast<uint64_t>(1 - F.bias - F.mantissa_bits + 1023) << 52);
    const float value = static_cast<float>(mantissa * unit);
    return sign ? -value : value;
  }
  const uint32_t bits = (exponent - F.bias + 127) << 23 | mantissa << (23 - F.mantissa_bits);
  return std::bit_cast<float>(sign | bits);
}

// The code nearest to `value`.
template <const FloatFormat& F>
static inline uint32_t EncodeFloat(double value, bool saturate = false) {
  const uint64_t bits = std::bit_cast<uint64_t>(value);
  const uint32_t sign = (bits >> 63) ? F.SignBit() : 0;
  const uint64_t magnitude = bits & ~(uint64_t{1} << 63);
  if (magnitude > uint64_t{0x7ff} << 52) {                           // NaN
    if (F.specials == Specials::kFinite) return sign ^ F.SignBit();  // no code for it: zero, sign flipped (ml_dtypes)
    return F.specials == Specials::kFnuz ? F.NanCode() : sign | F.NanCode();
  }
  const int exponent = static_cast<int>(magnitude >> 52) - 1023;
  constexpr int kShift = 52 - F.mantissa_bits;
  uint64_t scaled = magnitude - (static_cast<uint64_t>(1023 - F.bias) << 52);  // normal in F: rebias, then drop bits
  int shift = kShift;
  if (exponent < 1 - F.bias) {  // subnormal in F: the significand itself, shifted further
    scaled = (magnitude & ((uint64_t{1} << 52) - 1)) | uint64_t{1} << 52;
    shift += 1 - F.bias - exponent;
  }
  uint64_t code = 0;
  if (shift <= 53) code = (scaled + ((uint64_t{1} << (shift - 1)) - 1) + ((scaled >> shift) & 1)) >> shift;
  if (code > F.MaxCode()) {
    if (saturate || F.specials == Specials::kFinite) {
      code = F.MaxCode();
    } else if (F.specials == Specials::kFnuz) {
      return F.NanCode();
    } else {
      code = F.specials == Specials::kIeee ? F.Infinity() : F.NanCode();
    }
  }
  if (F.specials == Specials::kFnuz && code == 0) return 0;
  return sign | static_cast<uint32_t>(code);
}

static inline float Float16ToFloat(uint16_t code) { return DecodeFloat<kFormatFloat16>(code); }
static inline uint16_t FloatToFloat16(double value) {
  return static_cast<uint16_t>(EncodeFloat<kFormatFloat16>(value));
}
static inline float BFloat16ToFloat(uint16_t code) { return std::bit_cast<float>(static_cast<uint32_t>(code) << 16); }
static inline uint16_t FloatToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16 & 0x8000u) | 0x7fc0u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

// ---- E8M0: 2^(code - 127); 255 is NaN ----

enum class ScaleRounding : uint8_t { kUp, kDown, kNearest };

static inline double E8M0ToDouble(uint8_t code) {
  if (code == 255) return std::bit_cast<double>(uint64_t{0x7ff8} << 48);
  return std::bit_cast<double>(static_cast<uint64_t>(code - 127 + 1023) << 52);
}

// Cast's rules: the sign is dropped, `saturate` clamps to [2^-127, 2^127], otherwise out of range and zero are NaN.
static inline uint8_t EncodeE8M0(double value, ScaleRounding rounding, bool saturate) {
  const uint64_t bits = std::bit_cast<uint64_t>(value) & ~(uint64_t{1} << 63);
  if (bits > uint64_t{0x7ff} << 52) return 255;
  const uint64_t mantissa = bits & ((uint64_t{1} << 52) - 1);
  int64_t code = static_cast<int64_t>(bits >> 52) - 1023 + 127;
  if (rounding == ScaleRounding::kUp) code += mantissa != 0;
  if (rounding == ScaleRounding::kNearest) code += mantissa >> 51;  // a tie goes up
  if (code >= 0 && code <= 254 && bits != 0) return static_cast<uint8_t>(code);
  if (!saturate) return 255;
  return code < 0 ? 0 : 254;
}

// ---- 4- and 2-bit integers, in the low bits of a byte whose other bits are zero ----

template <int kBits>
static inline int DecodeSigned(uint8_t code) {
  return static_cast<int8_t>(static_cast<uint8_t>(code << (8 - kBits))) >> (8 - kBits);
}
template <int kBits>
static inline int DecodeUnsigned(uint8_t code) {
  return code & ((1 << kBits) - 1);
}
// Keeps the low bits, as a cast between integers does.
template <int kBits>
static inline uint8_t EncodeBits(uint64_t value) {
  return static_cast<uint8_t>(value & ((1u << kBits) - 1));
}

}  // namespace ziggurat
