// GGML's block formats, written from their layouts. All numbers are little-endian; scales are float16.
//
//   Q4_0  d, 16 bytes: low nibbles are elements 0..15, high nibbles 16..31; d * (q - 8)
//   Q4_1  d, m, 16 bytes of nibbles likewise; d * q + m
//   Q5_0  d, 32 fifth bits, 16 bytes of nibbles; d * (q - 16)
//   Q5_1  d, m, 32 fifth bits, 16 bytes of nibbles; d * q + m
//   Q8_0  d, 32 signed bytes; d * q
//   Q4_K  d, dmin, 12 bytes of eight 6-bit scales and minima, 128 bytes of nibbles; (d * scale) * q - dmin * minimum
//   Q5_K  the same with 32 bytes of fifth bits before the nibbles
//   Q6_K  128 bytes of low nibbles, 64 bytes of upper bit pairs, 16 signed scales, d; (d * scale) * (q - 32)
//
// Q4_K and Q5_K: eight groups of 32; two groups share 32 bytes, the lower nibbles are the earlier group's.
#include <cstring>

#include "tensor/encoding.h"
#include "tensor/half.h"

namespace ziggurat {
namespace {

constexpr GgmlFormat kFormats[] = {
    {GgmlType::kQ4_0, "Q4_0", 32, 18},   {GgmlType::kQ4_1, "Q4_1", 32, 20},   {GgmlType::kQ5_0, "Q5_0", 32, 22},
    {GgmlType::kQ5_1, "Q5_1", 32, 24},   {GgmlType::kQ8_0, "Q8_0", 32, 34},   {GgmlType::kQ4_K, "Q4_K", 256, 144},
    {GgmlType::kQ5_K, "Q5_K", 256, 176}, {GgmlType::kQ6_K, "Q6_K", 256, 210},
};

float Half(const uint8_t* p) {
  uint16_t bits;
  std::memcpy(&bits, p, 2);
  return Float16ToFloat(bits);
}

// The fifth bit of element i, in its place.
int Fifth(const uint8_t* bits, int i) { return (bits[i / 8] >> (i % 8) & 1) << 4; }

template <bool fifth, bool minimum>
void Legacy(const uint8_t* block, float* out) {
  const float d = Half(block);
  const float m = minimum ? Half(block + 2) : 0.0f;
  const uint8_t* bits = block + (minimum ? 4 : 2);
  const uint8_t* nibbles = bits + (fifth ? 4 : 0);
  for (int i = 0; i < 32; ++i) {
    int q = i < 16 ? nibbles[i] & 15 : nibbles[i - 16] >> 4;
    if (fifth) q |= Fifth(bits, i);
    out[i] = minimum ? d * static_cast<float>(q) + m : d * static_cast<float>(q - (fifth ? 16 : 8));
  }
}

void Q8(const uint8_t* block, float* out) {
  const float d = Half(block);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(static_cast<int8_t>(block[2 + i]));
}

// Scale and minimum of group j: 6 bits each; the upper two of groups 4..7 lie above the lower six of groups 0..3.
void ScaleAndMinimum(const uint8_t* packed, int j, int& scale, int& minimum) {
  if (j < 4) {
    scale = packed[j] & 63;
    minimum = packed[j + 4] & 63;
  } else {
    scale = (packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4;
    minimum = packed[j + 4] >> 4 | (packed[j] >> 6) << 4;
  }
}

template <bool fifth>
void KWithMinimum(const uint8_t* block, float* out) {
  const float d = Half(block), dmin = Half(block + 2);
  const uint8_t *high = block + 16, *nibbles = block + (fifth ? 48 : 16);
  for (int j = 0; j < 8; ++j) {
    int scale, minimum;
    ScaleAndMinimum(block + 4, j, scale, minimum);
    const float step = d * static_cast<float>(scale), low = dmin * static_cast<float>(minimum);
    for (int i = 0; i < 32; ++i) {
      int q = nibbles[j / 2 * 32 + i] >> (j % 2 * 4) & 15;
      if (fifth) q |= (high[i] >> j & 1) << 4;
      out[j * 32 + i] = step * static_cast<float>(q) - low;
    }
  }
}

void Q6K(const uint8_t* block, float* out) {
  const uint8_t *low = block, *high = block + 128, *scales = block + 192;
  const float d = Half(block + 208);
  for (int half = 0; half < 2; ++half)
    for (int part = 0; part < 4; ++part)
      for (int i = 0; i < 32; ++i) {
        const int nibble = low[half * 64 + part % 2 * 32 + i] >> (part / 2 * 4) & 15;
        const int q = nibble | (high[half * 32 + i] >> (2 * part) & 3) << 4;
        const int at = half * 128 + part * 32 + i;
        const float step = d * static_cast<float>(static_cast<int8_t>(scales[at / 16]));
        out[at] = step * static_cast<float>(q - 32);
      }
}

using BlockFn = void (*)(const uint8_t* block, float* out);
BlockFn Dequantizer(GgmlType type) {
  switch (type) {
    case GgmlType::kQ4_0:
      return &Legacy<false, false>;
    case GgmlType::kQ4_1:
      return &Legacy<false, true>;
    case GgmlType::kQ5_0:
      return &Legacy<true, false>;
    case GgmlType::kQ5_1:
      return &Legacy<true, true>;
    case GgmlType::kQ8_0:
      return &Q8;
    case GgmlType::kQ4_K:
      return &KWithMinimum<false>;
    case GgmlType::kQ5_K:
      return &KWithMinimum<true>;
    case GgmlType::kQ6_K:
      return &Q6K;
  }
  return nullptr;
}

const GgmlFormat& FormatOf(const Encoding& encoding) {
  const GgmlFormat* format = encoding.form == Encoding::Form::kGgmlBlock ? FindGgmlFormat(encoding.ggml_type) : nullptr;
  ZIGGURAT_CHECK(format);
  return *format;
}

}  // namespace

const GgmlFormat* FindGgmlFormat(int type) {
  for (const GgmlFormat& format : kFormats)
    if (static_cast<int>(format.type) == type) return &format;
  return nullptr;
}

Encoding GgmlEncoding(int type) {
  const GgmlFormat* format = FindGgmlFormat(type);
  if (format) return {Encoding::Form::kGgmlBlock, -1, format->elements, type};
  std::string known;
  for (const GgmlFormat& other : kFormats)
    known += Cat(known.empty() ? "" : ", ", static_cast<int>(other.type), " (", other.name, ")");
  throw Error(Code::kUnsupported, "GGML type ", type, " is not understood; those that are: ", known);
}

int64_t GgmlBytes(const Encoding& encoding, const Shape& shape) {
  const GgmlFormat& format = FormatOf(encoding);
  for (int64_t dim : shape)
    if (dim < 0) throw Error(Code::kInvalidModel, "an encoded tensor cannot have the shape ", shape);
  const int64_t row = shape.rank() ? shape[shape.rank() - 1] : 0;
  if (shape.rank() == 0 || row % format.elements != 0)
    throw Error(Code::kInvalidModel, "rows of an encoded tensor of shape ", shape, " must be whole blocks of ",
                format.elements, " elements (", format.name, ")");
  int64_t bytes = 0;
  if (__builtin_mul_overflow(shape.Count() / format.elements, format.block_bytes, &bytes))
    throw Error(Code::kInvalidModel, "the size of an encoded tensor of shape ", shape, " exceeds 2^63");
  return bytes;
}

int64_t GgmlRowBytes(const Encoding& encoding, int64_t elements) {
  const GgmlFormat& format = FormatOf(encoding);
  return elements / format.elements * format.block_bytes;
}

void DequantizeGgml(const Encoding& encoding, const void* blocks, int64_t elements, float* out) {
  const GgmlFormat& format = FormatOf(encoding);
  const BlockFn dequantize = Dequantizer(format.type);
  const auto* block = static_cast<const uint8_t*>(blocks);
  for (int64_t i = 0; i < elements; i += format.elements, block += format.block_bytes) dequantize(block, out + i);
}

}  // namespace ziggurat
