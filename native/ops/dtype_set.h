// Sets of element types, named as the standard's type constraints group them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "tensor/dtype.h"

namespace ziggurat {

// One bit per DType.
using DTypeSet = uint32_t;

constexpr DTypeSet SetOf(std::initializer_list<DType> types) {
  DTypeSet set = 0;
  for (DType type : types) set |= DTypeSet{1} << static_cast<int>(type);
  return set;
}
constexpr bool Contains(DTypeSet set, DType type) { return (set >> static_cast<int>(type)) & 1; }

inline constexpr DTypeSet kAnyType = 0x1ffffffe;  // 1..28
inline constexpr DTypeSet kBools = SetOf({DType::kBool});
inline constexpr DTypeSet kStrings = SetOf({DType::kString});
inline constexpr DTypeSet kFloat32s = SetOf({DType::kFloat32});
inline constexpr DTypeSet kInt64s = SetOf({DType::kInt64});
inline constexpr DTypeSet kInt32s = SetOf({DType::kInt32});
inline constexpr DTypeSet kUint8s = SetOf({DType::kUint8});
inline constexpr DTypeSet kIndices = SetOf({DType::kInt32, DType::kInt64});
inline constexpr DTypeSet kFloats = SetOf({DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64});
inline constexpr DTypeSet kFloats32 = SetOf({DType::kFloat16, DType::kBFloat16, DType::kFloat32});  // at most 32 bits
inline constexpr DTypeSet kFloat8s =
    SetOf({DType::kFloat8E4M3FN, DType::kFloat8E4M3FNUZ, DType::kFloat8E5M2, DType::kFloat8E5M2FNUZ});
inline constexpr DTypeSet kBytes = SetOf({DType::kInt8, DType::kUint8});
inline constexpr DTypeSet kWideInts = SetOf({DType::kInt32, DType::kInt64, DType::kUint32, DType::kUint64});
inline constexpr DTypeSet kIntegers = kWideInts | kBytes | SetOf({DType::kInt16, DType::kUint16});
inline constexpr DTypeSet kSigned = kFloats | SetOf({DType::kInt8, DType::kInt16, DType::kInt32, DType::kInt64});
inline constexpr DTypeSet kNumbers = kFloats | kIntegers;
inline constexpr DTypeSet kComplex = SetOf({DType::kComplex64, DType::kComplex128});
inline constexpr DTypeSet kClassic = kNumbers | kBools | kStrings | kComplex;  // everything before 8-bit floats
inline constexpr DTypeSet kTiny = kFloat8s | kBytes |
                                  SetOf({DType::kUint4, DType::kInt4, DType::kUint2, DType::kInt2, DType::kFloat4E2M1,
                                         DType::kFloat6E2M3, DType::kFloat6E3M2, DType::kInt16, DType::kUint16});

// "float32, int64"
std::string ToString(DTypeSet set);

}  // namespace ziggurat
