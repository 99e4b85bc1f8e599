// Rows of float32 weights to Q8_0 and Q4_0 blocks. No fused operations and no sums across lanes: every instruction set
// gives the same bytes.
#include "cpu/kernels/linear_formats.h"
#include "cpu/kernels/linear_parts.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

constexpr int kBlock = static_cast<int>(kLinearGroup);
constexpr int kBlockVectors = kBlock / kLanes;

float LargestMagnitude(const float* x) {
  F32 largest = Zero();
  for (int v = 0; v < kBlockVectors; ++v) largest = MaxNan(largest, Abs(Load(x + v * kLanes)));
  return MaxLanes(largest);
}

uint16_t ToFloat16(float value) {
  uint16_t half[kLanes];
  StoreF16(Set(value), half);
  return half[0];
}
float FromFloat16(uint16_t half) { return SumLanes(LoadF16N(&half, 1)); }

// round(x / d), limited to [low, high].
void Divide(const float* x, float d, float low, float high, int8_t* q) {
  const F32 inverse = Set(d != 0 ? 1.0f / d : 0.0f);
  for (int v = 0; v < kBlockVectors; ++v)
    StoreI8(ToI32Round(Clamp(Load(x + v * kLanes) * inverse, Set(low), Set(high))), q + v * kLanes);
}

// d = amax / 127 as a float16, and the nearest multiples of it.
void EncodeQ8_0(const float* x, float amax, uint8_t* block) {
  const uint16_t d = ToFloat16(amax / 127.0f);
  int8_t q[kBlock];
  Divide(x, FromFloat16(d), -127, 127, q);
  __builtin_memcpy(block, &d, 2);
  __builtin_memcpy(block + 2, q, kBlock);
}

// Candidates for 1 / d: the element of largest magnitude becomes -kSteps[i], or kSteps[i] in the second half (codes
// reach from -8 to 7). The best squared error is where its element is clipped a little.
constexpr int kCandidates = 16;
constexpr float kSteps[kCandidates] = {6.50f, 6.75f, 7.00f, 7.25f, 7.50f, 7.75f, 8.00f, 8.25f,
                                       5.75f, 6.00f, 6.25f, 6.50f, 6.75f, 7.00f, 7.25f, 7.50f};

// The d of least squared error among the candidates': for codes q, sum x q / sum q q leaves sum x x - (sum x q)^2 /
// sum q q. A candidate is a lane.
float BestScale(const float* x, float amax) {
  float largest = 0;
  for (int i = 0; i < kBlock; ++i)
    if (x[i] == amax || x[i] == -amax) largest = x[i];
  float products[kCandidates], squares[kCandidates];
  for (int c = 0; c < kCandidates; c += kLanes) {
    const F32 steps = c < kCandidates / 2 && kLanes < kCandidates ? Neg(Load(kSteps + c)) : Load(kSteps + c);
    const F32 sign = kLanes < kCandidates ? Set(1) : Select(FirstN(kCandidates / 2), Set(-1), Set(1));
    const F32 inverse = steps * sign / Set(largest);
    F32 product = Zero(), square = Zero();
    for (int i = 0; i < kBlock; ++i) {
      const F32 value = Set(x[i]), q = Clamp(RoundEven(value * inverse), Set(-8), Set(7));
      product = product + value * q;
      square = square + q * q;
    }
    Store(product, products + c), Store(square, squares + c);
  }
  float best = 0, d = 0;
  for (int c = 0; c < kCandidates; ++c) {
    if (squares[c] == 0) continue;
    const float gain = products[c] * (products[c] / squares[c]);
    if (gain > best) best = gain, d = products[c] / squares[c];
  }
  return d;
}

void EncodeQ4_0(const float* x, float amax, uint8_t* block) {
  uint16_t d = ToFloat16(amax != 0 ? BestScale(x, amax) : 0.0f);
  int8_t q[kBlock];
  Divide(x, FromFloat16(d), -8, 7, q);
  __builtin_memcpy(block, &d, 2);
  for (int i = 0; i < 16; ++i) block[2 + i] = static_cast<uint8_t>((q[i] + 8) | (q[16 + i] + 8) << 4);
}

}  // namespace

int64_t EncodeLinear(const EncodeLinearArgs& args) {
  const bool eight = args.format == LinearFormat::kQ8_0;
  const int64_t bytes = eight ? 34 : 18, blocks = args.k / kBlock;
  uint8_t* to = static_cast<uint8_t*>(args.blocks);
  for (int64_t row = 0; row < args.rows; ++row)
    for (int64_t b = 0; b < blocks; ++b, to += bytes) {
      const float* x = args.w + row * args.k + b * kBlock;
      const float amax = LargestMagnitude(x);
      // 65504 is the largest float16; no value may exceed what the codes reach.
      if (!(amax <= (eight ? 127.0f : 7.0f) * 65504.0f)) return row;
      eight ? EncodeQ8_0(x, amax, to) : EncodeQ4_0(x, amax, to);
    }
  return -1;
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
