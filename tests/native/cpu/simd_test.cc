#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "cpu/isas.h"
#include "cpu/simd_probe.h"

#if defined(__x86_64__)
namespace ziggurat::cpu {
namespace sse42 {
extern const SimdProbe kSimdProbe;
}
namespace avx2 {
extern const SimdProbe kSimdProbe;
}
namespace avx512 {
extern const SimdProbe kSimdProbe;
}
namespace avx512vnni {
extern const SimdProbe kSimdProbe;
}
}  // namespace ziggurat::cpu
#endif

namespace ziggurat::test {
namespace {

std::vector<const cpu::SimdProbe*> HostProbes() {
  std::vector<const cpu::SimdProbe*> probes;
#if defined(__x86_64__)
  for (std::string_view isa : cpu::UsableIsas()) {
    if (isa == "sse42") probes.push_back(&cpu::sse42::kSimdProbe);
    if (isa == "avx2") probes.push_back(&cpu::avx2::kSimdProbe);
    if (isa == "avx512") probes.push_back(&cpu::avx512::kSimdProbe);
    if (isa == "avx512vnni") probes.push_back(&cpu::avx512vnni::kSimdProbe);
  }
#endif
  return probes;
}

bool SameBits(float a, float b) { return std::memcmp(&a, &b, 4) == 0 || (std::isnan(a) && std::isnan(b)); }

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

float HalfToFloat(uint16_t h) {
  const int exponent = (h >> 10) & 31, fraction = h & 1023;
  const float sign = h & 0x8000 ? -1.0f : 1.0f;
  if (exponent == 31) return fraction ? kNan : sign * kInf;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
}

const std::vector<float> kEdges = {0.0f, -0.0f, 1.0f,  -1.0f,  0.5f,    1.5f,       2.5f,          -2.5f,
                                   kNan, kInf,  -kInf, 1e30f,  -1e30f,  3e9f,       -3e9f,         0.3f,
                                   7.0f, -7.7f, 7.7f,  1e-40f, -1e-40f, 8388609.0f, 2147483648.0f, 12345.678f};

}  // namespace

TEST(simd_tail_loads_and_stores_touch_only_the_first_n_elements) {
  for (const cpu::SimdProbe* probe : HostProbes())
    for (int n = 0; n <= probe->lanes; ++n) {
      // Exactly n elements: an over-read or over-write is an error under AddressSanitizer.
      std::vector<float> from(n), to(n + 1, -1.0f);
      std::vector<int32_t> ints(n), int_copy(n + 1, -1);
      for (int i = 0; i < n; ++i) from[i] = static_cast<float>(i + 1), ints[i] = i + 1;
      probe->copy_n(from.data(), to.data(), n);
      probe->copy_n_i32(ints.data(), int_copy.data(), n);
      for (int i = 0; i < n; ++i) CHECK(to[i] == static_cast<float>(i + 1) && int_copy[i] == i + 1);
      CHECK(to[n] == -1.0f && int_copy[n] == -1);
    }
}

TEST(simd_arithmetic_matches_scalar_code_on_edge_values) {
  for (const cpu::SimdProbe* probe : HostProbes()) {
    const int lanes = probe->lanes;
    std::vector<float> a(lanes), b(lanes), c(lanes), out(23 * lanes);
    for (size_t shift = 0; shift < kEdges.size() * kEdges.size(); ++shift) {
      for (int i = 0; i < lanes; ++i) {
        a[i] = kEdges[(shift + i) % kEdges.size()];
        b[i] = kEdges[(shift / kEdges.size() + 5 * i) % kEdges.size()];
        c[i] = kEdges[(shift + 11 * i) % kEdges.size()];
      }
      probe->arithmetic(a.data(), b.data(), c.data(), out.data());
      for (int i = 0; i < lanes; ++i) {
        const float x = a[i], y = b[i], z = c[i];
        volatile float product = x * y;
        const bool nan = std::isnan(x) || std::isnan(y);
        const float expected[] = {probe->fma ? std::fma(x, y, z) : product + z,
                                  probe->fma ? std::fma(-x, y, z) : z - product,
                                  x < y ? x : y,
                                  x > y ? x : y,
                                  nan ? kNan : (x < y ? x : y),
                                  nan ? kNan : (x > y ? x : y),
                                  std::fabs(x),
                                  -x,
                                  std::copysign(x, y),
                                  std::isnan(x) ? x : std::fmin(1.0f, std::fmax(-1.0f, x)),
                                  std::nearbyint(x),
                                  std::floor(x),
                                  std::ceil(x),
                                  std::trunc(x),
                                  std::sqrt(std::fabs(x)),
                                  x == y ? 1.0f : 0.0f,
                                  x != y ? 1.0f : 0.0f,
                                  x < y ? 1.0f : 0.0f,
                                  x <= y ? 1.0f : 0.0f,
                                  x > y ? 1.0f : 0.0f,
                                  x >= y ? 1.0f : 0.0f,
                                  x < y && !(y < z) ? x : y,
                                  nan ? z : x};
        for (int r = 0; r < 23; ++r)
          CHECK(SameBits(out[r * lanes + i], expected[r]), "lanes ", lanes, " row ", r, " x ", x, " y ", y, " z ", z,
                " got ", out[r * lanes + i], " expected ", expected[r]);
      }
    }
  }
}

TEST(simd_conversions_and_integer_operations_match_scalar_code) {
  for (const cpu::SimdProbe* probe : HostProbes()) {
    const int lanes = probe->lanes;
    std::vector<float> a(lanes);
    std::vector<int32_t> out(9 * lanes);
    for (size_t shift = 0; shift < kEdges.size(); ++shift) {
      for (int i = 0; i < lanes; ++i) a[i] = kEdges[(shift + i) % kEdges.size()];
      probe->conversions(a.data(), out.data());
      for (int i = 0; i < lanes; ++i) {
        const auto to_int = [](float v) { return std::fabs(v) < 2147483648.0f ? static_cast<int32_t>(v) : INT32_MIN; };
        const int32_t t = to_int(a[i]);
        const float back = static_cast<float>(t);
        int32_t back_bits;
        std::memcpy(&back_bits, &back, 4);
        const int32_t expected[] = {to_int(std::nearbyint(a[i])),
                                    t,
                                    back_bits,
                                    static_cast<int32_t>(static_cast<uint32_t>(t) << 3),
                                    static_cast<int32_t>(static_cast<uint32_t>(t) >> 3),
                                    std::min(t, i),
                                    std::max(t, i),
                                    t > i ? t : i,
                                    t == i ? t : -7};
        for (int r = 0; r < 9; ++r) CHECK(out[r * lanes + i] == expected[r], "row ", r, " input ", a[i]);
      }
    }
  }
}

TEST(simd_reads_every_float16_and_bfloat16_value) {
  std::vector<uint16_t> all(65536 + 3);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  std::vector<float> out(all.size());
  for (const cpu::SimdProbe* probe : HostProbes()) {
    probe->f16_to_f32(all.data(), out.data(), static_cast<int>(all.size()));
    for (size_t i = 0; i < all.size(); ++i) CHECK(SameBits(out[i], HalfToFloat(all[i])), "half bits ", all[i]);
    probe->bf16_to_f32(all.data(), out.data(), static_cast<int>(all.size()));
    for (size_t i = 0; i < all.size(); ++i) {
      const uint32_t bits = static_cast<uint32_t>(all[i]) << 16;
      CHECK(std::memcmp(&out[i], &bits, 4) == 0, "bfloat16 bits ", all[i]);
    }
  }
}

TEST(simd_rounds_to_float16_and_bfloat16_as_nearest_even) {
  // Every half, the midpoints to the next one, and a float to either side of each.
  std::vector<float> inputs;
  for (int h = 0; h < 0x7c00; ++h) {
    const float low = HalfToFloat(static_cast<uint16_t>(h));
    const float high = h == 0x7bff ? 65536.0f : HalfToFloat(static_cast<uint16_t>(h + 1));
    const float middle = (low + high) / 2;
    for (float v : {low, middle, std::nextafter(middle, 0.0f), std::nextafter(middle, kInf)})
      inputs.push_back(v), inputs.push_back(-v);
  }
  for (float v : {kInf, -kInf, kNan, 1e10f, 1e-30f, 3.4e38f}) inputs.push_back(v);
  std::vector<uint16_t> out(inputs.size());
  for (const cpu::SimdProbe* probe : HostProbes()) {
    probe->f32_to_f16(inputs.data(), out.data(), static_cast<int>(inputs.size()));
    for (size_t i = 0; i < inputs.size(); ++i) {
      const double v = std::fabs(inputs[i]);
      const float got = HalfToFloat(out[i]);
      if (std::isnan(inputs[i])) {
        CHECK(std::isnan(got));
        continue;
      }
      CHECK(std::signbit(got) == std::signbit(inputs[i]));
      if (v >= 65520) {
        CHECK(std::isinf(got), inputs[i]);
        continue;
      }
      int exponent;
      std::frexp(v, &exponent);
      const double unit = std::ldexp(1.0, std::max(exponent - 11, -24));
      CHECK(std::fabs(got) == std::nearbyint(v / unit) * unit, "input ", inputs[i], " got ", got);
    }
    probe->f32_to_bf16(inputs.data(), out.data(), static_cast<int>(inputs.size()));
    for (size_t i = 0; i < inputs.size(); ++i) {
      const uint32_t wide = static_cast<uint32_t>(out[i]) << 16;
      float got;
      std::memcpy(&got, &wide, 4);
      if (std::isnan(inputs[i])) {
        CHECK(std::isnan(got));
        continue;
      }
      if (std::isinf(inputs[i]) || std::fabs(inputs[i]) > 3.38e38f) {
        CHECK(std::isinf(got));
        continue;
      }
      int exponent;
      std::frexp(static_cast<double>(inputs[i]), &exponent);
      const double unit = std::ldexp(1.0, exponent - 8);
      CHECK(got == std::nearbyint(inputs[i] / unit) * unit, "input ", inputs[i], " got ", got);
    }
  }
}

TEST(simd_gathers_and_reduces_lanes) {
  for (const cpu::SimdProbe* probe : HostProbes()) {
    const int lanes = probe->lanes;
    std::vector<float> base(100), out(lanes);
    std::vector<int32_t> index(lanes);
    for (int i = 0; i < 100; ++i) base[i] = static_cast<float>(i) * 1.25f;
    for (int i = 0; i < lanes; ++i) index[i] = (37 * i + 11) % 100;
    probe->gather(base.data(), index.data(), out.data());
    for (int i = 0; i < lanes; ++i) CHECK(out[i] == base[index[i]]);

    std::vector<float> tree = {1e8f, 1.0f, -1e8f, 3.0f, 0.1f, 7.0f,  -5.5f, 2.25f,
                               9.0f, 1e7f, 0.7f,  -3.f, 4.4f, 1e-3f, 8.0f,  -1e7f};
    tree.resize(lanes);
    std::vector<float> folded = tree;
    for (int half = lanes / 2; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) folded[i] += folded[i + half];
    CHECK(SameBits(probe->sum(tree.data()), folded[0]));
    CHECK(probe->max(tree.data()) == *std::max_element(tree.begin(), tree.end()));
    CHECK(probe->min(tree.data()) == *std::min_element(tree.begin(), tree.end()));
    for (int i = 0; i < lanes; ++i) {
      std::vector<float> with_nan = tree;
      with_nan[i] = kNan;
      CHECK(std::isnan(probe->max(with_nan.data())) && std::isnan(probe->min(with_nan.data())));
    }
  }
}

TEST(select_kernels_names_the_valid_instruction_sets) {
  CHECK(!cpu::UsableIsas().empty());
  CHECK(cpu::UsableIsas().back() == cpu::SelectKernels(std::nullopt).isa);
  for (std::string_view isa : cpu::UsableIsas()) CHECK(cpu::SelectKernels(std::string(isa)).isa == isa);
  CHECK_ERROR(Code::kInvalidArgument, cpu::SelectKernels("avx9000"));
  try {
    cpu::SelectKernels("");
    CHECK(false);
  } catch (const Error& error) {
    CHECK(error.message().find("sse42") != std::string::npos, error.message());
  }
}

}  // namespace ziggurat::test
