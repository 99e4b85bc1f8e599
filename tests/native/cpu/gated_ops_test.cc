// SwiGLU's kernel has the bits of Swish and Mul, in any length, on any number of threads.
#include "cpu/op_harness.h"

namespace ziggurat::test {
namespace {

TEST(swiglu_has_the_bits_of_swish_and_mul) {
  for (int64_t n : {0, 1, 7, 33, 2047, 2048, 2049, 70001}) {
    HostTensor gate = RandomFloats({1, n}, 1, -30, 30);
    const HostTensor up = RandomFloats({1, n}, 2);
    const float special[] = {-INFINITY, INFINITY, NAN, -0.0f};
    for (int64_t i = 0; i < std::min<int64_t>(n, 4); ++i) std::memcpy(gate.bytes.data() + i * 4, &special[i], 4);
    for (const cpu::KernelTable* table : HostTables()) {
      const HostTensor silu = OneOp("Swish", {gate}).Run(*table)[0];
      const HostTensor exact = OneOp("Mul", {silu, up}).Run(*table)[0];
      for (int threads : {1, 2})
        CHECK(OneOp("SwiGLU", {gate, up}).Run(*table, threads)[0].bytes == exact.bytes, table->isa, " of ", n);
    }
  }
}

}  // namespace
}  // namespace ziggurat::test
