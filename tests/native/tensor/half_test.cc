#include "tensor/half.h"

#include <cmath>
#include <limits>
#include <vector>

#include "check.h"

namespace ziggurat {
namespace {

// The value of a code by the formats' definition, written independently of the conversion under test.
double Defined(const FloatFormat& f, uint32_t code) {
  const int exponent = static_cast<int>((code & (f.SignBit() - 1)) >> f.mantissa_bits);
  const double mantissa = code & ((1u << f.mantissa_bits) - 1);
  const double one = std::ldexp(1.0, f.mantissa_bits);
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa / one, 1 - f.bias) : std::ldexp(1.0 + mantissa / one, exponent - f.bias);
  return (code & f.SignBit()) ? -magnitude : magnitude;
}

// Every code, and around every midpoint of two neighbours: below, at and above.
template <const FloatFormat& F>
void CheckFormat() {
  const double infinity = std::numeric_limits<double>::infinity();
  for (uint32_t code = 0; code <= F.MaxCode(); ++code) {
    const double value = Defined(F, code);
    CHECK(DecodeFloat<F>(code) == value, "code ", code);
    CHECK(EncodeFloat<F>(value) == code, "code ", code);
    if (code > 0 || F.specials != Specials::kFnuz) {
      CHECK(DecodeFloat<F>(code | F.SignBit()) == -value && std::signbit(DecodeFloat<F>(code | F.SignBit())));
      CHECK(EncodeFloat<F>(-value) == (code | F.SignBit()), "code -", code);
    }
    const bool last = code == F.MaxCode();
    const double next = last ? value + (value - Defined(F, code - 1)) : Defined(F, code + 1);
    const double middle = (value + next) / 2;  // exact: one bit more than the format has
    const uint32_t above = !last                             ? code + 1
                           : F.specials == Specials::kFinite ? code
                           : F.specials == Specials::kIeee   ? F.Infinity()
                                                             : F.NanCode();
    CHECK(EncodeFloat<F>(std::nextafter(middle, 0)) == code, "below the middle above ", code);
    CHECK(EncodeFloat<F>(middle) == (code % 2 ? above : code), "tie above ", code);
    CHECK(EncodeFloat<F>(std::nextafter(middle, infinity)) == above, "above the middle above ", code);
  }
  CHECK(EncodeFloat<F>(infinity, true) == F.MaxCode());
  CHECK(EncodeFloat<F>(-1e300, true) == (F.MaxCode() | F.SignBit()));
  CHECK(EncodeFloat<F>(5e-324) == 0);
  if (F.specials != Specials::kFinite) {
    CHECK(std::isnan(DecodeFloat<F>(EncodeFloat<F>(std::nan("")))));
    CHECK(std::isnan(DecodeFloat<F>(EncodeFloat<F>(std::nan(""), true))));
  }
  if (F.specials == Specials::kIeee) CHECK(DecodeFloat<F>(EncodeFloat<F>(-infinity)) == -infinity);
}

TEST(every_code_of_every_narrow_float_and_every_tie_between_them) {
  CheckFormat<kFormatFloat16>();
  CheckFormat<kFormatBFloat16>();
  CheckFormat<kFormatE4M3FN>();
  CheckFormat<kFormatE4M3FNUZ>();
  CheckFormat<kFormatE5M2>();
  CheckFormat<kFormatE5M2FNUZ>();
  CheckFormat<kFormatE2M1>();
  CheckFormat<kFormatE2M3>();
  CheckFormat<kFormatE3M2>();
}

// Codes that ml_dtypes gives for the same values.
TEST(narrow_floats_have_the_known_codes_at_their_edges) {
  CHECK(FloatToFloat16(65520.0f) == 0x7c00 && FloatToFloat16(65519.0f) == 0x7bff);
  CHECK(EncodeFloat<kFormatE4M3FN>(464) == 0x7e && EncodeFloat<kFormatE4M3FN>(464.1) == 0x7f);
  CHECK(EncodeFloat<kFormatE4M3FN>(-INFINITY) == 0xff);
  CHECK(EncodeFloat<kFormatE4M3FNUZ>(-0.0) == 0 && EncodeFloat<kFormatE4M3FNUZ>(248) == 0x80);
  CHECK(EncodeFloat<kFormatE5M2>(61440) == 0x7c && EncodeFloat<kFormatE5M2>(61439) == 0x7b);
  CHECK(EncodeFloat<kFormatE5M2>(-NAN) == 0xfe && EncodeFloat<kFormatE5M2FNUZ>(61439) == 0x7f);
  CHECK(EncodeFloat<kFormatE2M1>(1e30) == 7 && EncodeFloat<kFormatE2M1>(NAN) == 8 &&
        EncodeFloat<kFormatE2M1>(-NAN) == 0);
  CHECK(EncodeFloat<kFormatE2M3>(-INFINITY) == 0x3f && EncodeFloat<kFormatE3M2>(30) == 0x1f);
}

TEST(bfloat16_from_float_agrees_with_the_general_encoder) {
  for (uint64_t bits = 0; bits <= 0xffffffffu; bits += 4099) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(bits));
    CHECK(FloatToBFloat16(value) == EncodeFloat<kFormatBFloat16>(value), "bits ", bits);
  }
}

TEST(e8m0_rounds_as_asked_and_saturates_or_gives_nan) {
  for (int code = 0; code < 255; ++code) {
    const double value = std::ldexp(1.0, code - 127);
    CHECK(E8M0ToDouble(static_cast<uint8_t>(code)) == value);
    for (ScaleRounding mode : {ScaleRounding::kUp, ScaleRounding::kDown, ScaleRounding::kNearest})
      CHECK(EncodeE8M0(value, mode, true) == code);
    if (code == 254) continue;
    CHECK(EncodeE8M0(value * 1.25, ScaleRounding::kUp, true) == code + 1);
    CHECK(EncodeE8M0(value * 1.25, ScaleRounding::kNearest, true) == code);
    CHECK(EncodeE8M0(value * 1.5, ScaleRounding::kNearest, true) == code + 1);
    CHECK(EncodeE8M0(value * 1.75, ScaleRounding::kDown, true) == code);
  }
  CHECK(std::isnan(E8M0ToDouble(255)));
  CHECK(EncodeE8M0(INFINITY, ScaleRounding::kUp, true) == 254 &&
        EncodeE8M0(INFINITY, ScaleRounding::kUp, false) == 255);
  CHECK(EncodeE8M0(0, ScaleRounding::kUp, true) == 0 && EncodeE8M0(0, ScaleRounding::kUp, false) == 255);
  CHECK(EncodeE8M0(NAN, ScaleRounding::kDown, true) == 255);
}

TEST(small_integers_wrap_and_extend_their_sign) {
  CHECK(EncodeBits<4>(static_cast<uint64_t>(-1)) == 15 && EncodeBits<4>(200) == 8 && EncodeBits<2>(7) == 3);
  CHECK(DecodeSigned<4>(8) == -8 && DecodeSigned<4>(15) == -1 && DecodeSigned<4>(7) == 7);
  CHECK(DecodeSigned<2>(2) == -2 && DecodeSigned<2>(1) == 1 && DecodeUnsigned<4>(15) == 15);
}

}  // namespace
}  // namespace ziggurat
