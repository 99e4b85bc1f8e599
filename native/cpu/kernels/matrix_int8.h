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

// C[m, n] = sum over k of (A - a_zero)(B - b_zero)
struct Int8GemmArgs {
  int64_t m = 0, n = 0, k = 0;
  const void* a = nullptr;  // int8 or uint8
  bool a_signed = false;
  int64_t a_row = 0, a_column = 1;
  const int32_t* b = nullptr;  // packed
  bool b_signed = true;        // what B was before it was packed
  int32_t a_zero = 0;
  const int32_t* b_zero = nullptr;  // one a column
  int32_t* c = nullptr;
  int64_t c_row = 0;
  int32_t* scratch = nullptr;  // int8_scratch words, 64-byte aligned
};

struct Int8Kernels {
  void (*pack_b)(const PackInt8BArgs& args);
  int64_t (*packed_b_words)(int64_t k, int64_t n);
  void (*gemm)(const Int8GemmArgs& args);
  int64_t (*scratch)(int64_t k);  // words
};

}  // namespace ziggurat::cpu
