// All element types of ONNX. The numbers are those of onnx.TensorProto.DataType, so files and bindings need no map.
//
// In memory every element takes whole bytes: sub-byte types (int4, uint4, int2, uint2, float4, float6) are held one
// element a byte, as ml_dtypes does; only an Encoding packs them tighter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace ziggurat {

//      enumerator       ONNX  bytes  name (as NumPy and ml_dtypes spell it)
#define ZIGGURAT_DTYPES(X)                     \
  X(kFloat32, 1, 4, "float32")                 \
  X(kUint8, 2, 1, "uint8")                     \
  X(kInt8, 3, 1, "int8")                       \
  X(kUint16, 4, 2, "uint16")                   \
  X(kInt16, 5, 2, "int16")                     \
  X(kInt32, 6, 4, "int32")                     \
  X(kInt64, 7, 8, "int64")                     \
  X(kString, 8, 0, "string")                   \
  X(kBool, 9, 1, "bool")                       \
  X(kFloat16, 10, 2, "float16")                \
  X(kFloat64, 11, 8, "float64")                \
  X(kUint32, 12, 4, "uint32")                  \
  X(kUint64, 13, 8, "uint64")                  \
  X(kComplex64, 14, 8, "complex64")            \
  X(kComplex128, 15, 16, "complex128")         \
  X(kBFloat16, 16, 2, "bfloat16")              \
  X(kFloat8E4M3FN, 17, 1, "float8_e4m3fn")     \
  X(kFloat8E4M3FNUZ, 18, 1, "float8_e4m3fnuz") \
  X(kFloat8E5M2, 19, 1, "float8_e5m2")         \
  X(kFloat8E5M2FNUZ, 20, 1, "float8_e5m2fnuz") \
  X(kUint4, 21, 1, "uint4")                    \
  X(kInt4, 22, 1, "int4")                      \
  X(kFloat4E2M1, 23, 1, "float4_e2m1fn")       \
  X(kFloat8E8M0, 24, 1, "float8_e8m0fnu")      \
  X(kUint2, 25, 1, "uint2")                    \
  X(kInt2, 26, 1, "int2")                      \
  X(kFloat6E2M3, 27, 1, "float6_e2m3fn")       \
  X(kFloat6E3M2, 28, 1, "float6_e3m2fn")

enum class DType : uint8_t {
  kUndefined = 0,
#define X(enumerator, number, bytes, name) enumerator = number,
  ZIGGURAT_DTYPES(X)
#undef X
};

// Bytes of one element in memory; 0 for strings, whose elements are std::string objects on the host.
constexpr size_t ByteSize(DType dtype) {
  switch (dtype) {
#define X(enumerator, number, bytes, name) \
  case DType::enumerator:                  \
    return bytes;
    ZIGGURAT_DTYPES(X)
#undef X
    default:
      return 0;
  }
}

constexpr std::string_view Name(DType dtype) {
  switch (dtype) {
#define X(enumerator, number, bytes, name) \
  case DType::enumerator:                  \
    return name;
    ZIGGURAT_DTYPES(X)
#undef X
    default:
      return "undefined";
  }
}

constexpr std::optional<DType> DTypeFromName(std::string_view name) {
#define X(enumerator, number, bytes, text) \
  if (name == text) return DType::enumerator;
  ZIGGURAT_DTYPES(X)
#undef X
  return std::nullopt;
}

constexpr bool IsValidDType(int onnx_number) { return onnx_number >= 1 && onnx_number <= 28; }

constexpr bool IsSignedInteger(DType d) {
  return d == DType::kInt8 || d == DType::kInt16 || d == DType::kInt32 || d == DType::kInt64 || d == DType::kInt4 ||
         d == DType::kInt2;
}
constexpr bool IsUnsignedInteger(DType d) {
  return d == DType::kUint8 || d == DType::kUint16 || d == DType::kUint32 || d == DType::kUint64 ||
         d == DType::kUint4 || d == DType::kUint2;
}
constexpr bool IsInteger(DType d) { return IsSignedInteger(d) || IsUnsignedInteger(d); }
constexpr bool IsComplex(DType d) { return d == DType::kComplex64 || d == DType::kComplex128; }
// Floating point of any width, the 8-, 6- and 4-bit formats included.
constexpr bool IsFloat(DType d) {
  return d != DType::kUndefined && d != DType::kString && d != DType::kBool && !IsInteger(d) && !IsComplex(d);
}

}  // namespace ziggurat
