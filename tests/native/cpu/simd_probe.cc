#include "cpu/simd_probe.h"

#include "cpu/simd.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

void CopyN(const float* from, float* to, int n) { StoreN(LoadN(from, n), to, n); }
void CopyNI32(const int32_t* from, int32_t* to, int n) { StoreN(LoadN(from, n), to, n); }

// Whole registers by the full functions, the rest by the tail functions.
void F16ToF32(const uint16_t* from, float* to, int n) {
  for (; n >= kLanes; n -= kLanes, from += kLanes, to += kLanes) Store(LoadF16(from), to);
  StoreN(LoadF16N(from, n), to, n);
}
void F32ToF16(const float* from, uint16_t* to, int n) {
  for (; n >= kLanes; n -= kLanes, from += kLanes, to += kLanes) StoreF16(Load(from), to);
  StoreF16N(LoadN(from, n), to, n);
}
void Bf16ToF32(const uint16_t* from, float* to, int n) {
  for (; n >= kLanes; n -= kLanes, from += kLanes, to += kLanes) Store(LoadBf16(from), to);
  StoreN(LoadBf16N(from, n), to, n);
}
void F32ToBf16(const float* from, uint16_t* to, int n) {
  for (; n >= kLanes; n -= kLanes, from += kLanes, to += kLanes) StoreBf16(Load(from), to);
  StoreBf16N(LoadN(from, n), to, n);
}

void Arithmetic(const float* pa, const float* pb, const float* pc, float* out) {
  const F32 a = Load(pa), b = Load(pb), c = Load(pc), one = Set(1.0f), zero = Zero();
  const F32 rows[] = {MulAdd(a, b, c),
                      NegMulAdd(a, b, c),
                      Min(a, b),
                      Max(a, b),
                      MinNan(a, b),
                      MaxNan(a, b),
                      Abs(a),
                      Neg(a),
                      CopySign(a, b),
                      Clamp(a, Set(-1.0f), one),
                      RoundEven(a),
                      Floor(a),
                      Ceil(a),
                      Trunc(a),
                      Sqrt(Abs(a)),
                      Select(Eq(a, b), one, zero),
                      Select(Ne(a, b), one, zero),
                      Select(Lt(a, b), one, zero),
                      Select(Le(a, b), one, zero),
                      Select(Gt(a, b), one, zero),
                      Select(Ge(a, b), one, zero),
                      Select(And(Lt(a, b), Not(Lt(b, c))), a, b),
                      Select(Or(IsNan(a), IsNan(b)), c, a)};
  for (const F32& row : rows) Store(row, out), out += kLanes;
}

void Conversions(const float* pa, int32_t* out) {
  const F32 a = Load(pa);
  const I32 i = ToI32Trunc(a);
  const I32 rows[] = {ToI32Round(a),
                      i,
                      BitCastI32(ToF32(i)),
                      ShiftLeft<3>(i),
                      ShiftRightLogical<3>(i),
                      MinI32(i, Iota()),
                      MaxI32(i, Iota()),
                      SelectI32(GtI32(i, Iota()), i, Iota()),
                      SelectI32(EqI32(i, Iota()), i, SetI32(-7))};
  for (const I32& row : rows) Store(row, out), out += kLanes;
}

void GatherProbe(const float* base, const int32_t* index, float* to) { Store(Gather(base, Load(index)), to); }
float Sum(const float* a) { return SumLanes(Load(a)); }
float Maximum(const float* a) { return MaxLanes(Load(a)); }
float Minimum(const float* a) { return MinLanes(Load(a)); }

}  // namespace

extern const SimdProbe kSimdProbe;
const SimdProbe kSimdProbe = {kLanes,    kHasFma,    CopyN,       CopyNI32,    F16ToF32, F32ToF16, Bf16ToF32,
                              F32ToBf16, Arithmetic, Conversions, GatherProbe, Sum,      Maximum,  Minimum};

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
