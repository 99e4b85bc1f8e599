// How a tensor's elements are stored, and the block formats of GGML.
//
// Only plain has elements in row-major order; an op that does not list another encoding is given an explicit
// Dequantize. GGML's formats cut each row (the last axis) into blocks of 32 or 256 elements with scales of their own:
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, layouts in ggml-common.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/shape.h"

namespace ziggurat {

struct Encoding {
  enum class Form : uint8_t { kPlain, kSubByte, kAffine, kGgmlBlock };
  Form form = Form::kPlain;
  int axis = -1;       // kAffine: the axis scales and zero points run along
  int64_t block = 0;   // kAffine: elements of `axis` a scale covers, 0 = all; kGgmlBlock: elements a block
  int ggml_type = -1;  // kGgmlBlock: GGML's type number
  bool IsPlain() const { return form == Form::kPlain; }
  friend bool operator==(const Encoding&, const Encoding&) = default;
};

// GGML's type numbers, of those that are understood.
enum class GgmlType : int { kQ4_0 = 2, kQ4_1 = 3, kQ5_0 = 6, kQ5_1 = 7, kQ8_0 = 8, kQ4_K = 12, kQ5_K = 13, kQ6_K = 14 };

struct GgmlFormat {
  GgmlType type;
  const char* name;     // "Q4_0"
  int64_t elements;     // a block
  int64_t block_bytes;  // a block
};

// The format of that number; null if it is not understood.
const GgmlFormat* FindGgmlFormat(int type);
// The encoding of that format. Throws kUnsupported naming those that are understood.
Encoding GgmlEncoding(int type);
// Bytes of a tensor of that shape, whose rows (last axis) must be whole blocks. Throws kInvalidModel otherwise.
int64_t GgmlBytes(const Encoding& encoding, const Shape& shape);
// Bytes of a row of `elements`, a multiple of the block.
int64_t GgmlRowBytes(const Encoding& encoding, int64_t elements);
// The elements of `elements / block` blocks, exactly as GGML's reference: float32 products and sums, no fusing.
void DequantizeGgml(const Encoding& encoding, const void* blocks, int64_t elements, float* out);

}  // namespace ziggurat
