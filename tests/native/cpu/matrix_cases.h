// Shared by the matrix kernels' tests: random data, exact-size buffers, a float64 reference.
#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "cpu/isas.h"

namespace ziggurat::test {

inline std::vector<float> RandomFloats(int64_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = uniform(generator);
  return values;
}

// Exactly `count` floats at a 64-byte boundary plus `shift` floats: reads past the end are errors under ASan.
class Buffer {
 public:
  explicit Buffer(int64_t count, int64_t shift = 0, float fill = 0) {
    const size_t bytes = static_cast<size_t>(count + shift) * 4;
    void* memory = nullptr;
    if (posix_memalign(&memory, 64, bytes ? bytes : 4) != 0) throw Error(Code::kOutOfMemory, "test buffer");
    memory_.reset(static_cast<float*>(memory));
    data_ = memory_.get() + shift;
    for (int64_t i = 0; i < count; ++i) data_[i] = fill;
  }
  Buffer(const std::vector<float>& values, int64_t shift = 0) : Buffer(static_cast<int64_t>(values.size()), shift) {
    if (!values.empty()) std::memcpy(data_, values.data(), values.size() * 4);
  }
  float* data() { return data_; }
  float& operator[](int64_t i) { return data_[i]; }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> memory_;
  float* data_ = nullptr;
};

inline bool SameBits(const float* a, const float* b, int64_t count) {
  return count == 0 || std::memcmp(a, b, static_cast<size_t>(count) * 4) == 0;
}

// Packs all of a plain row-major B.
inline Buffer PackWholeB(const cpu::MatrixKernels& kernels, const float* b, int64_t k, int64_t n) {
  Buffer packed(PackedBFloats(kernels, k, n), 0, NAN);
  cpu::PackBArgs args;
  args.b = {b, DType::kFloat32, n, 1};
  args.k = k, args.n = n;
  args.last_panel = (n + kernels.nr - 1) / kernels.nr;
  args.packed = packed.data();
  kernels.pack_b(args);
  return packed;
}

// C = A B of plain matrices through packed B; rows [0, m).
inline void RunGemm(const cpu::MatrixKernels& kernels, const float* a, Buffer& packed_b, float* c, int64_t m, int64_t n,
                    int64_t k, const cpu::Epilogue& epilogue = {}) {
  Buffer scratch(kernels.gemm_scratch(m, k), 0, NAN);
  cpu::GemmArgs args;
  args.m = m, args.n = n, args.k = k;
  args.a = {a, DType::kFloat32, k, 1};
  args.b = packed_b.data();
  args.b_step = kernels.nr;
  args.b_panel = kernels.nr * k;
  args.c = c;
  args.c_row = n;
  args.epilogue = epilogue;
  args.scratch = scratch.data();
  kernels.gemm(args);
}

}  // namespace ziggurat::test
