#include <limits>

#include "check.h"
#include "cpu/matrix_cases.h"

namespace ziggurat::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// Products below one: partial sums stay below sqrt(k), whose unit of rounding (2^-24 of it) is met once a term of a
// block and once a block. Errors are random: four standard deviations of a walk of 128 + k / 128 steps.
double Tolerance(int64_t k) {
  const double steps = static_cast<double>(std::min<int64_t>(k, 128) + k / 128),
               bound = 1 + std::sqrt(static_cast<double>(k));
  return 4 * std::sqrt(steps) * bound * 0x1p-24 + 1e-7;
}

void CheckProduct(const float* a, const float* b, const float* c, int64_t m, int64_t n, int64_t k) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double expected = 0;
      for (int64_t kk = 0; kk < k; ++kk) expected += static_cast<double>(a[i * k + kk]) * b[kk * n + j];
      CHECK(std::fabs(c[i * n + j] - expected) <= Tolerance(k), "m ", m, " n ", n, " k ", k, " at ", i, ",", j, " got ",
            c[i * n + j], " expected ", expected);
    }
}

}  // namespace

TEST(gemm_matches_float64_for_all_tile_heights_and_tails) {
  for (const cpu::KernelTable* table : HostTables()) {
    const cpu::MatrixKernels& kernels = *table->matrix;
    std::vector<int64_t> heights = {29, 150};
    for (int64_t m = 0; m <= kernels.mr + 2; ++m) heights.push_back(m);
    for (int64_t m : heights)
      for (int64_t n : {int64_t{0}, int64_t{1}, int64_t{3}, int64_t{7}, int64_t{kernels.nr / 2},
                        int64_t{kernels.nr / 2 + 1}, int64_t{kernels.nr}, int64_t{kernels.nr + 5}})
        for (int64_t k : {0, 1, 2, 5, 127, 128, 131, 300}) {
          // Unaligned A and C: callers' tensors need element alignment only.
          Buffer a(RandomFloats(m * k, 1), 1), b(RandomFloats(k * n, 2), 3), c(m * n, 5, NAN);
          Buffer packed = PackWholeB(kernels, b.data(), k, n);
          RunGemm(kernels, a.data(), packed, c.data(), m, n, k);
          CheckProduct(a.data(), b.data(), c.data(), m, n, k);
        }
  }
}

TEST(gemm_matches_float64_over_several_passes_of_rows_and_k) {
  for (const cpu::KernelTable* table : HostTables()) {
    const int64_t m = 275, n = 37, k = 2311;
    Buffer a(RandomFloats(m * k, 3)), b(RandomFloats(k * n, 4)), c(m * n, 0, NAN);
    Buffer packed = PackWholeB(*table->matrix, b.data(), k, n);
    RunGemm(*table->matrix, a.data(), packed, c.data(), m, n, k);
    CheckProduct(a.data(), b.data(), c.data(), m, n, k);
  }
}

TEST(gemm_sums_blocks_of_128_from_zero_in_ascending_order) {
  for (const cpu::KernelTable* table : HostTables()) {
    const bool fma = std::string(table->isa) != "sse42";
    const int64_t n = 3, k = 1500;
    Buffer a(RandomFloats(k, 5)), b(RandomFloats(k * n, 6)), c(n);
    Buffer packed = PackWholeB(*table->matrix, b.data(), k, n);
    RunGemm(*table->matrix, a.data(), packed, c.data(), 1, n, k);
    for (int64_t j = 0; j < n; ++j) {
      float total = 0;
      for (int64_t k0 = 0; k0 < k; k0 += 128) {
        float sum = 0;
        for (int64_t kk = k0; kk < std::min<int64_t>(k, k0 + 128); ++kk) {
          volatile float product = a[kk] * b[kk * n + j];
          sum = fma ? std::fma(a[kk], b[kk * n + j], sum) : product + sum;
        }
        total = k0 ? total + sum : sum;
      }
      CHECK(SameBits(&total, &c[j], 1), table->isa, " column ", j);
    }
  }
}

TEST(gemm_row_has_the_same_bits_alone_among_others_and_through_plain_or_packed_operands) {
  for (const cpu::KernelTable* table : HostTables()) {
    const cpu::MatrixKernels& kernels = *table->matrix;
    const int64_t m = 200, n = 2 * kernels.nr, k = 1200;
    Buffer a(RandomFloats(m * k, 7)), b(RandomFloats(k * n, 8)), all(m * n), row(n);
    Buffer packed = PackWholeB(kernels, b.data(), k, n);
    RunGemm(kernels, a.data(), packed, all.data(), m, n, k);
    for (int64_t i : {int64_t{0}, int64_t{1}, int64_t{13}, int64_t{14}, int64_t{77}, m - 1}) {
      RunGemm(kernels, a.data() + i * k, packed, row.data(), 1, n, k);
      CHECK(SameBits(row.data(), &all[i * n], n), table->isa, " row ", i);
    }
    for (int64_t count : {2, 3, 5, 17, 113}) {
      Buffer some(count * n);
      RunGemm(kernels, a.data() + 9 * k, packed, some.data(), count, n, k);
      CHECK(SameBits(some.data(), &all[9 * n], count * n), table->isa, " rows ", count);
    }
    // A packed beforehand, B read from its plain rows.
    Buffer packed_a(PackedAFloats(kernels, m, k), 0, NAN), c(m * n, 0, NAN);
    kernels.pack_a({a.data(), DType::kFloat32, k, 1}, m, k, packed_a.data());
    cpu::GemmArgs args;
    args.m = m, args.n = n, args.k = k;
    args.a_packed = packed_a.data();
    args.b = b.data(), args.b_step = n, args.b_panel = kernels.nr;
    args.c = c.data(), args.c_row = n;
    kernels.gemm(args);
    CHECK(SameBits(c.data(), all.data(), m * n), table->isa);
  }
}

TEST(gemm_reads_transposed_and_16_bit_operands) {
  for (const cpu::KernelTable* table : HostTables()) {
    const cpu::MatrixKernels& kernels = *table->matrix;
    const int64_t m = 19, n = kernels.nr + 3, k = 150;
    // Small integers are exact in every type.
    std::vector<float> a(m * k), b(k * n);
    for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(static_cast<int>(i * 7 % 15) - 7);
    for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(static_cast<int>(i * 5 % 13) - 6);
    const auto half = [](float v) -> uint16_t {  // integers up to 15
      if (v == 0) return 0;
      int exponent;
      const float fraction = std::frexp(std::fabs(v), &exponent);
      return static_cast<uint16_t>((v < 0 ? 0x8000 : 0) | ((exponent + 14) << 10) |
                                   static_cast<int>((fraction * 2 - 1) * 1024));
    };
    const auto bfloat = [](float v) {
      uint32_t bits;
      std::memcpy(&bits, &v, 4);
      return static_cast<uint16_t>(bits >> 16);
    };
    for (bool transposed_a : {false, true})
      for (bool transposed_b : {false, true})
        for (DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
          std::vector<float> a32(a.size()), b32(b.size());
          std::vector<uint16_t> a16(a.size()), b16(b.size());
          for (int64_t i = 0; i < m; ++i)
            for (int64_t kk = 0; kk < k; ++kk) {
              const size_t at = static_cast<size_t>(transposed_a ? kk * m + i : i * k + kk);
              a32[at] = a[i * k + kk];
              a16[at] = dtype == DType::kFloat16 ? half(a32[at]) : bfloat(a32[at]);
            }
          for (int64_t kk = 0; kk < k; ++kk)
            for (int64_t j = 0; j < n; ++j) {
              const size_t at = static_cast<size_t>(transposed_b ? j * k + kk : kk * n + j);
              b32[at] = b[kk * n + j];
              b16[at] = dtype == DType::kFloat16 ? half(b32[at]) : bfloat(b32[at]);
            }
          const bool wide = dtype == DType::kFloat32;
          Buffer packed(PackedBFloats(kernels, k, n), 0, NAN), c(m * n), scratch(kernels.gemm_scratch(m, k));
          cpu::PackBArgs pack;
          pack.b = {wide ? static_cast<const void*>(b32.data()) : b16.data(), dtype, transposed_b ? 1 : n,
                    transposed_b ? k : 1};
          pack.k = k, pack.n = n, pack.last_panel = 2, pack.packed = packed.data();
          kernels.pack_b(pack);
          cpu::GemmArgs args;
          args.m = m, args.n = n, args.k = k;
          args.a = {wide ? static_cast<const void*>(a32.data()) : a16.data(), dtype, transposed_a ? 1 : k,
                    transposed_a ? m : 1};
          args.b = packed.data(), args.b_step = kernels.nr, args.b_panel = kernels.nr * k;
          args.c = c.data(), args.c_row = n, args.scratch = scratch.data();
          kernels.gemm(args);
          for (int64_t i = 0; i < m; ++i)
            for (int64_t j = 0; j < n; ++j) {
              float expected = 0;
              for (int64_t kk = 0; kk < k; ++kk) expected += a[i * k + kk] * b[kk * n + j];
              CHECK(c[i * n + j] == expected, table->isa, " dtype ", Name(dtype));
            }
        }
  }
}

TEST(gemm_hands_on_nan_and_infinity_and_never_skips_a_zero) {
  for (const cpu::KernelTable* table : HostTables()) {
    const cpu::MatrixKernels& kernels = *table->matrix;
    const int64_t m = 3, n = kernels.nr + 1, k = 140;
    for (float special : {static_cast<float>(NAN), kInf, -kInf}) {
      Buffer a(m * k, 0, 0.0f), b(RandomFloats(k * n, 9)), c(m * n);
      b[(k - 1) * n + n - 1] = special;  // 0 * infinity is NaN
      Buffer packed = PackWholeB(kernels, b.data(), k, n);
      RunGemm(kernels, a.data(), packed, c.data(), m, n, k);
      for (int64_t i = 0; i < m; ++i) {
        CHECK(std::isnan(c[i * n + n - 1]));
        for (int64_t j = 0; j + 1 < n; ++j) CHECK(c[i * n + j] == 0);
      }
      Buffer a2(RandomFloats(m * k, 10)), b2(RandomFloats(k * n, 11));
      a2[k + 130] = special;  // row 1
      Buffer packed2 = PackWholeB(kernels, b2.data(), k, n);
      RunGemm(kernels, a2.data(), packed2, c.data(), m, n, k);
      for (int64_t j = 0; j < n; ++j) {
        CHECK(std::isfinite(c[j]) && std::isfinite(c[2 * n + j]));
        CHECK(!std::isfinite(c[n + j]));
      }
    }
  }
}

TEST(gemm_epilogue_has_the_bits_of_separate_operations) {
  for (const cpu::KernelTable* table : HostTables()) {
    const cpu::MatrixKernels& kernels = *table->matrix;
    const int64_t m = 17, n = kernels.nr + 9, k = 300;  // columns that fill registers and some that do not, blocks of K
    std::vector<float> left = RandomFloats(m * k, 12);
    left[5] = NAN, left[static_cast<size_t>(3 * k)] = INFINITY;
    Buffer a(left), b(RandomFloats(k * n, 13)), plain(m * n), fused(m * n);
    std::vector<float> columns = RandomFloats(n, 14), rows = RandomFloats(m, 15), residual = RandomFloats(m * n, 16);
    for (int64_t depth : {k, int64_t{70}, int64_t{0}}) {
      Buffer packed = PackWholeB(kernels, b.data(), depth, n);
      RunGemm(kernels, a.data(), packed, plain.data(), m, n, depth);
      for (int mask = 0; mask < 128; ++mask) {
        if ((mask & 32) && (mask & 64)) continue;
        cpu::Epilogue e;
        if (mask & 1) e.scale = 0.37f;
        if (mask & 2) e.column_bias = columns.data();
        if (mask & 4) e.row_bias = rows.data();
        if (mask & 8) e.residual = residual.data(), e.residual_row = n;
        if (mask & 16) e.residual_scale = -1.7f, e.residual_row = 0, e.residual_column = 0;
        if (mask & 32) {
          e.activation = table->vector->elementwise.unary(cpu::UnaryOp::kLeakyRelu);
          e.params.alpha = 0.1f;
        }
        if (mask & 64) e.clamps = true, e.low = -0.5f, e.high = 1;
        RunGemm(kernels, a.data(), packed, fused.data(), m, n, depth, e);
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j) {
            float y = plain[i * n + j];
            if (mask & 1) y = y * e.scale;
            if (mask & 2) y = y + columns[j];
            if (mask & 4) y = y + rows[i];
            if (mask & 8) {
              volatile float scaled = residual[i * e.residual_row + j * e.residual_column] * e.residual_scale;
              y = y + scaled;
            }
            if (mask & 32) y = y < 0 ? 0.1f * y : y;
            if (mask & 64) y = y < e.low ? e.low : y > e.high ? e.high : y;
            CHECK(SameBits(&y, &fused[i * n + j], 1), table->isa, " mask ", mask);
          }
      }
    }
  }
}

}  // namespace ziggurat::test
