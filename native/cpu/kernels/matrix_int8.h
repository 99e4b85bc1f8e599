// Products of 8-bit integers, exact in int32 (which wraps around beyond it).
#pragma once

#include <cstdint>

namespace ziggurat::cpu {

// Packed B: a panel is nr column sums (int32), then [k words][nr] words of int8_depth values of one column each.
struct PackInt8BArgs {
  const void* b = nullptr;  // int8 or uint8
  bool is_signed = true;
  int64_t b_row = 0, b_column = 1;
  int64_t k = 0, n = 0;
  int64_t first_panel = 0, last_panel = 0;  // [first, last)
  int32_t* packed = nullptr;                // of panel 0
};

// From floats to 8 bits, as QuantizeLinear: round(x / scale) + zero, ties to even, kept in range. NaN becomes 0, as
// in a cast.
struct Int8Scale {
  float scale = 1, zero = 0;
  bool is_signed = false;
};

// What becomes of a product's sums while they are in the first-level cache: y = sum * scale + bias, each operation
// rounded by itself, as float32 or in 8 bits.
struct Int8Finish {
  const float* scale = nullptr;  // one a column
  const float* bias = nullptr;   // likewise; null: nothing
  bool quantizes = false;
  Int8Scale to;  // where it quantizes
};

// C[m, n] = sum over k of (A - a_zero)(B - b_zero)
struct Int8GemmArgs {
  int64_t m = 0, n = 0, k = 0;
  const void* a = nullptr;  // int8 or uint8
  bool a_signed = false;
  int64_t a_row = 0, a_column = 1;
  const int32_t* b = nullptr;  // packed
  bool b_signed = true;        // what B was before it was packed
  int32_t a_zero = 0;
  const int32_t* b_zero = nullptr;     // one a column
  int32_t* c = nullptr;                // unless finish
  const Int8Finish* finish = nullptr;  // scale and bias of column 0 on
  void* y = nullptr;                   // its result, float32 or 8 bits
  int64_t c_row = 0;                   // elements, of y too
  int32_t* scratch = nullptr;          // int8_scratch words, 64-byte aligned
};

struct Int8Kernels {
  void (*pack_b)(const PackInt8BArgs& args);
  int64_t (*packed_b_words)(int64_t k, int64_t n);
  void (*gemm)(const Int8GemmArgs& args);
  int64_t (*scratch)(int64_t k);  // words
  void (*quantize)(const float* x, int64_t n, const Int8Scale& to, void* y);
};

}  // namespace ziggurat::cpu
