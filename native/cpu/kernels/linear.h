// The linear family: y[t, n] = x[t, k] w[n, k]^T of weights that keep 4 to 8 bits an element (GGML's block formats).
//
// The rule of computation, the same for every t, tile, split and thread:
// - A row of x is cut in groups of 32. A group's scale is s = amax / 127 and its values q = x (127 / amax), rounded to
//   nearest even: |x - s q| <= s / 2 but for float32 rounding. amax < 2^-118 counts as zero. A group that holds a NaN
//   or an infinity gets the scale NaN, which makes that row of y NaN and touches no other.
// - An element of w is d (c - z) + m: c the stored code, z a constant of the format, d and m float32 values that are
//   exact (a float16, or a float16 times a 6- or 8-bit integer).
// - For each group, ascending: I = sum (c - z) q is exact in integers; y <- fma(d s, I, y), then y <- fma(m, s sum q,
// y)
//   where the format has m. Q6_K has a d for each 16 elements: two such sums a group. Without FMA, two roundings.
// So bits depend on the row of x, the row of w and the instruction set only.
//
// Packed weights: strips of 16 rows, zero-padded, 64-byte aligned. A strip is its scale records, rounded up to 64
// bytes, then its groups of codes (see PackLinear in linear_pack.cc); it takes as many bits an element as the file.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ziggurat::cpu {

// The numbers are GGML's, as in tensor/encoding.h, which kernel units cannot include.
enum class LinearFormat : int {
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14
};

inline constexpr int64_t kStripRows = 16;
inline constexpr int64_t kLinearGroup = 32;

// What the products need of a group of a quantised row of x.
struct LinearGroup {
  float scale;      // s
  float sum;        // s sum q
  int32_t zero[2];  // -z sum q in the form that the instruction set's sums begin from; [1]: of a second sum
};

struct QuantizeInputArgs {
  LinearFormat format = LinearFormat::kQ4_0;  // of the weights to come
  const float* x = nullptr;
  int64_t x_row = 0;  // distance of two rows, in elements
  int64_t rows = 0, k = 0;
  int8_t* q = nullptr;            // [rows, k]
  LinearGroup* groups = nullptr;  // [rows, k / 32]
};

// Rows first_strip * 16 .. of w from their encoded blocks.
struct PackLinearArgs {
  LinearFormat format = LinearFormat::kQ4_0;
  const void* blocks = nullptr;  // of row 0
  int64_t n = 0, k = 0;          // k is a multiple of the format's block
  int64_t first_strip = 0, last_strip = 0;
  std::byte* packed = nullptr;  // of strip 0
};

struct LinearArgs {
  LinearFormat format = LinearFormat::kQ4_0;
  int64_t t = 0, n = 0, k = 0;
  const std::byte* packed = nullptr;  // of strip 0
  const int8_t* q = nullptr;          // quantised for this format
  const LinearGroup* groups = nullptr;
  const float* bias = nullptr;  // one a column, or null
  float* y = nullptr;
  int64_t y_row = 0;
  int64_t first_strip = 0, last_strip = 0;
};

// Rows of float32 weights to blocks of Q8_0 or Q4_0.
struct EncodeLinearArgs {
  LinearFormat format = LinearFormat::kQ8_0;
  const float* w = nullptr;  // [rows, k]
  int64_t rows = 0, k = 0;   // k is a multiple of 32
  void* blocks = nullptr;
};

struct LinearKernels {
  int64_t (*strip_bytes)(LinearFormat format, int64_t k);
  void (*pack)(const PackLinearArgs& args);
  // Row `row` of packed weights as float32, the same bits as GGML's reference gives.
  void (*unpack_row)(LinearFormat format, const std::byte* packed, int64_t k, int64_t row, float* out);
  // Same bytes on every instruction set. Returns the first row that holds a value that is not finite or beyond what a
  // float16 scale reaches, or -1; blocks of that row and later ones are then not written.
  int64_t (*encode)(const EncodeLinearArgs& args);
  void (*quantize_input)(const QuantizeInputArgs& args);
  void (*multiply)(const LinearArgs& args);
};

}  // namespace ziggurat::cpu
