// Shared by the linear kernels' tests: random blocks of every format, and products through packed strips.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cpu/isas.h"
#include "cpu/matrix_cases.h"
#include "tensor/encoding.h"

namespace ziggurat::test {

struct LinearCase {
  cpu::LinearFormat format;
  const char* name;
  int64_t elements, bytes;  // a block
  int64_t d, m;             // where its float16 scales lie; -1: none
};
inline constexpr LinearCase kLinearCases[] = {
    {cpu::LinearFormat::kQ4_0, "Q4_0", 32, 18, 0, -1},  {cpu::LinearFormat::kQ4_1, "Q4_1", 32, 20, 0, 2},
    {cpu::LinearFormat::kQ5_0, "Q5_0", 32, 22, 0, -1},  {cpu::LinearFormat::kQ5_1, "Q5_1", 32, 24, 0, 2},
    {cpu::LinearFormat::kQ8_0, "Q8_0", 32, 34, 0, -1},  {cpu::LinearFormat::kQ4_K, "Q4_K", 256, 144, 0, 2},
    {cpu::LinearFormat::kQ5_K, "Q5_K", 256, 176, 0, 2}, {cpu::LinearFormat::kQ6_K, "Q6_K", 256, 210, 208, -1},
};

// Any bytes are codes and factors; scales are float16 of either sign, 2^-9 to 2^-5, of full precision.
inline std::vector<uint8_t> RandomBlocks(const LinearCase& c, int64_t rows, int64_t k, uint32_t seed) {
  std::mt19937 generator(seed);
  std::vector<uint8_t> blocks(static_cast<size_t>(rows * k / c.elements * c.bytes));
  for (uint8_t& byte : blocks) byte = static_cast<uint8_t>(generator() >> 11);
  for (size_t at = 0; at < blocks.size(); at += static_cast<size_t>(c.bytes))
    for (int64_t field : {c.d, c.m}) {
      if (field < 0) continue;
      const auto half =
          static_cast<uint16_t>((generator() & 0x8000) | (6 + generator() % 4) << 10 | (generator() & 1023));
      std::memcpy(&blocks[at + static_cast<size_t>(field)], &half, 2);
    }
  return blocks;
}

// Weights of one case in every form, and its product.
struct LinearProblem {
  const cpu::LinearKernels& kernels;
  const LinearCase& format;
  int64_t n, k;
  std::vector<uint8_t> blocks;
  Buffer packed;
  std::vector<float> weights;  // [n, k]

  LinearProblem(const cpu::LinearKernels& kernel, const LinearCase& c, int64_t rows, int64_t columns, uint32_t seed)
      : kernels(kernel),
        format(c),
        n(rows),
        k(columns),
        blocks(RandomBlocks(c, rows, columns, seed)),
        packed(strips() * kernel.strip_bytes(c.format, columns) / 4, 0, NAN),
        weights(static_cast<size_t>(rows * columns)) {
    kernels.pack({format.format, blocks.data(), n, k, 0, strips(), bytes()});
    Decode();
  }
  // The weights as the format defines them.
  void Decode() { DequantizeGgml(GgmlEncoding(static_cast<int>(format.format)), blocks.data(), n * k, weights.data()); }
  int64_t strips() const { return (n + cpu::kStripRows - 1) / cpu::kStripRows; }
  std::byte* bytes() { return reinterpret_cast<std::byte*>(packed.data()); }

  struct Input {
    std::vector<int8_t> q;
    std::vector<cpu::LinearGroup> groups;
  };
  Input Quantize(const float* x, int64_t t) const {
    Input input{std::vector<int8_t>(static_cast<size_t>(t * k)),
                std::vector<cpu::LinearGroup>(static_cast<size_t>(t * k / cpu::kLinearGroup))};
    kernels.quantize_input({format.format, x, k, t, k, input.q.data(), input.groups.data()});
    return input;
  }
  // Strips [first, last) of tokens [from, to) into y [to, n].
  void Multiply(const Input& input, int64_t from, int64_t to, int64_t first, int64_t last, const float* bias,
                float* y) {
    cpu::LinearArgs args;
    args.format = format.format;
    args.t = to - from, args.n = n, args.k = k;
    args.packed = bytes();
    args.q = input.q.data() + from * k;
    args.groups = input.groups.data() + from * k / cpu::kLinearGroup;
    args.bias = bias;
    args.y = y + from * n, args.y_row = n;
    args.first_strip = first, args.last_strip = last;
    kernels.multiply(args);
  }
};

}  // namespace ziggurat::test
