// Conversions: half-precision ones on registers, the rest as loops the compiler vectorises.
#include "cpu/kernels/vector_parts.h"
#include "cpu/simd.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

template <F32 (*load)(const uint16_t*), F32 (*load_part)(const uint16_t*, int)>
void Widen(const void* x_bytes, void* y_bytes, int64_t n) {
  const uint16_t* x = static_cast<const uint16_t*>(x_bytes);
  float* y = static_cast<float*>(y_bytes);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(load(x + i), y + i);
  const int left = static_cast<int>(n - i);
  if (left > 0) StoreN(load_part(x + i, left), y + i, left);
}

template <void (*store)(F32, uint16_t*), void (*store_part)(F32, uint16_t*, int)>
void Narrow(const void* x_bytes, void* y_bytes, int64_t n) {
  const float* x = static_cast<const float*>(x_bytes);
  uint16_t* y = static_cast<uint16_t*>(y_bytes);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(Load(x + i), y + i);
  const int left = static_cast<int>(n - i);
  if (left > 0) store_part(LoadN(x + i, left), y + i, left);
}

template <typename From, typename To>
struct Lane {
  static To Do(From x) { return static_cast<To>(x); }
};
template <typename From>
struct Lane<From, bool> {
  static bool Do(From x) { return x != From(0); }
};
template <>
struct Lane<float, int32_t> {
  static int32_t Do(float x) { return x >= -0x1p31f && x < 0x1p31f ? static_cast<int32_t>(x) : INT32_MIN; }
};
template <>
struct Lane<double, int32_t> {
  static int32_t Do(double x) { return x > -0x1.00000002p31 && x < 0x1p31 ? static_cast<int32_t>(x) : INT32_MIN; }
};
template <>
struct Lane<float, int64_t> {
  static int64_t Do(float x) { return x >= -0x1p63f && x < 0x1p63f ? static_cast<int64_t>(x) : INT64_MIN; }
};
template <>
struct Lane<double, int64_t> {
  static int64_t Do(double x) { return x >= -0x1p63 && x < 0x1p63 ? static_cast<int64_t>(x) : INT64_MIN; }
};
template <>
struct Lane<float, int8_t> {
  static int8_t Do(float x) { return static_cast<int8_t>(Lane<float, int32_t>::Do(x)); }
};
template <>
struct Lane<float, uint8_t> {
  static uint8_t Do(float x) { return static_cast<uint8_t>(Lane<float, int32_t>::Do(x)); }
};
template <>
struct Lane<double, int8_t> {
  static int8_t Do(double x) { return static_cast<int8_t>(Lane<double, int32_t>::Do(x)); }
};
template <>
struct Lane<double, uint8_t> {
  static uint8_t Do(double x) { return static_cast<uint8_t>(Lane<double, int32_t>::Do(x)); }
};

template <typename From, typename To>
void Run(const void* x_bytes, void* y_bytes, int64_t n) {
  const From* x = static_cast<const From*>(x_bytes);
  To* y = static_cast<To*>(y_bytes);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = Lane<From, To>::Do(x[i]);
}

template <typename From>
CastFn To(DType to) {
  switch (to) {
    case DType::kFloat32:
      return &Run<From, float>;
    case DType::kFloat64:
      return &Run<From, double>;
    case DType::kInt8:
      return &Run<From, int8_t>;
    case DType::kUint8:
      return &Run<From, uint8_t>;
    case DType::kInt32:
      return &Run<From, int32_t>;
    case DType::kInt64:
      return &Run<From, int64_t>;
    case DType::kBool:
      return &Run<From, bool>;
    default:
      return nullptr;
  }
}

}  // namespace

CastFn FindCast(DType from, DType to) {
  if (from == DType::kFloat32 && to == DType::kFloat16) return &Narrow<&StoreF16, &StoreF16N>;
  if (from == DType::kFloat32 && to == DType::kBFloat16) return &Narrow<&StoreBf16, &StoreBf16N>;
  if (to == DType::kFloat32 && from == DType::kFloat16) return &Widen<&LoadF16, &LoadF16N>;
  if (to == DType::kFloat32 && from == DType::kBFloat16) return &Widen<&LoadBf16, &LoadBf16N>;
  switch (from) {
    case DType::kFloat32:
      return To<float>(to);
    case DType::kFloat64:
      return To<double>(to);
    case DType::kInt8:
      return To<int8_t>(to);
    case DType::kUint8:
    case DType::kBool:
      return To<uint8_t>(to);
    case DType::kInt32:
      return To<int32_t>(to);
    case DType::kInt64:
      return To<int64_t>(to);
    default:
      return nullptr;
  }
}

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
