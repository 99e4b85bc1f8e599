#include "check.h"
#include "cpu/matrix_cases.h"
#include "tensor/half.h"

namespace ziggurat::test {
namespace {

struct HalfMatrix {
  std::vector<uint16_t> bits;  // w [n, k]
  std::vector<float> values;   // w^T [k, n]
};

// Any bits but NaN's, whose payload a conversion may change.
HalfMatrix RandomHalves(DType dtype, int64_t n, int64_t k) {
  std::mt19937 generator(9);
  HalfMatrix w{std::vector<uint16_t>(static_cast<size_t>(n * k)), std::vector<float>(static_cast<size_t>(n * k))};
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < k; ++j) {
      // Exponents around one: sums stay finite.
      const auto sign = static_cast<uint16_t>(generator() & 0x8000);
      const auto bits =
          static_cast<uint16_t>(dtype == DType::kFloat16 ? sign | (10 + generator() % 6) << 10 | (generator() & 1023)
                                                         : sign | (120 + generator() % 8) << 7 | (generator() & 127));
      w.bits[i * k + j] = bits;
      const uint32_t wide = static_cast<uint32_t>(bits) << 16;
      float value;
      std::memcpy(&value, &wide, 4);
      w.values[j * n + i] = dtype == DType::kFloat16 ? Float16ToFloat(bits) : value;
    }
  return w;
}

}  // namespace

TEST(gemm_of_16_bit_b_gives_the_bits_of_its_float32_values) {
  for (const cpu::KernelTable* table : HostTables()) {
    const cpu::MatrixKernels& kernels = *table->matrix;
    const int64_t nr = kernels.nr;
    for (DType dtype : {DType::kFloat16, DType::kBFloat16})
      for (int64_t n : {int64_t{1}, nr / 2, nr, nr + 3})
        for (int64_t k : {1, 5, 127, 131, 1500}) {
          const HalfMatrix w = RandomHalves(dtype, n, k);
          const int64_t panels = (n + nr - 1) / nr;
          Buffer half((panels * nr * k + 1) / 2, 0, NAN), wide(kernels.wide_floats, 0, NAN);
          auto* packed = reinterpret_cast<uint16_t*>(half.data());
          for (int64_t panel = 0; panel < panels; ++panel)
            kernels.pack_half({w.bits.data(), k, n, panel, panel + 1, packed});
          Buffer packed32 = PackWholeB(kernels, w.values.data(), k, n);
          for (int64_t m : {1, 2, 3, 4, 5, 7, 15, 150}) {
            Buffer a(RandomFloats(m * k, 1), 1), expected(m * n, 0, NAN), c(m * n, 3, NAN);
            RunGemm(kernels, a.data(), packed32, expected.data(), m, n, k);
            Buffer scratch(kernels.gemm_scratch(m, k), 0, NAN);
            cpu::GemmArgs args;
            args.m = m, args.n = n, args.k = k;
            args.a = {a.data(), DType::kFloat32, k, 1};
            args.b = packed, args.b_dtype = dtype, args.b_step = nr, args.b_panel = nr * k;
            args.c = c.data(), args.c_row = n;
            args.scratch = scratch.data(), args.wide = wide.data();
            kernels.gemm(args);
            CHECK(SameBits(c.data(), expected.data(), m * n), table->isa, " ", Name(dtype), " m ", m, " n ", n, " k ",
                  k);
          }
        }
  }
}

}  // namespace ziggurat::test
