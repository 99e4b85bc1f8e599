// Doors into cpu/simd.h for its test: simd_probe.cc is compiled once per instruction set, as kernels are.
#pragma once

#include <cstdint>

namespace ziggurat::cpu {

struct SimdProbe {
  int lanes;
  bool fma;
  void (*copy_n)(const float* from, float* to, int n);
  void (*copy_n_i32)(const int32_t* from, int32_t* to, int n);
  void (*f16_to_f32)(const uint16_t* from, float* to, int n);
  void (*f32_to_f16)(const float* from, uint16_t* to, int n);
  void (*bf16_to_f32)(const uint16_t* from, float* to, int n);
  void (*f32_to_bf16)(const float* from, uint16_t* to, int n);
  // results[r][lane], r = one row per function named in simd_test.cc, from one register each of a, b, c.
  void (*arithmetic)(const float* a, const float* b, const float* c, float* results);
  void (*conversions)(const float* a, int32_t* results);
  void (*gather)(const float* base, const int32_t* index, float* to);
  float (*sum)(const float* a);
  float (*max)(const float* a);
  float (*min)(const float* a);
};

}  // namespace ziggurat::cpu
