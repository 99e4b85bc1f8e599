"""Element types by their number in onnx.TensorProto: how many bits an element takes in a file, and its name."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ziggurat.errors import InvalidModel


class ElementType(NamedTuple):
    name: str
    bits: int  # of one element in a file; 0 for strings
    typed_field: str  # the field of TensorProto that holds elements where raw_data does not
    numpy: str  # how an element of that field is stored


FLOAT, INT64, STRING, BOOL, FLOAT16, DOUBLE, BFLOAT16 = 1, 7, 8, 9, 10, 11, 16

_TYPES: dict[int, ElementType] = {
    FLOAT: ElementType("float32", 32, "float_data", "<f4"),
    2: ElementType("uint8", 8, "int32_data", "u1"),
    3: ElementType("int8", 8, "int32_data", "i1"),
    4: ElementType("uint16", 16, "int32_data", "<u2"),
    5: ElementType("int16", 16, "int32_data", "<i2"),
    6: ElementType("int32", 32, "int32_data", "<i4"),
    INT64: ElementType("int64", 64, "int64_data", "<i8"),
    STRING: ElementType("string", 0, "string_data", ""),
    BOOL: ElementType("bool", 8, "int32_data", "u1"),
    FLOAT16: ElementType("float16", 16, "int32_data", "<u2"),
    DOUBLE: ElementType("float64", 64, "double_data", "<f8"),
    12: ElementType("uint32", 32, "uint64_data", "<u4"),
    13: ElementType("uint64", 64, "uint64_data", "<u8"),
    14: ElementType("complex64", 64, "float_data", "<f4"),
    15: ElementType("complex128", 128, "double_data", "<f8"),
    BFLOAT16: ElementType("bfloat16", 16, "int32_data", "<u2"),
    17: ElementType("float8_e4m3fn", 8, "int32_data", "u1"),
    18: ElementType("float8_e4m3fnuz", 8, "int32_data", "u1"),
    19: ElementType("float8_e5m2", 8, "int32_data", "u1"),
    20: ElementType("float8_e5m2fnuz", 8, "int32_data", "u1"),
    21: ElementType("uint4", 4, "int32_data", "u1"),
    22: ElementType("int4", 4, "int32_data", "u1"),
    23: ElementType("float4_e2m1fn", 4, "int32_data", "u1"),
    24: ElementType("float8_e8m0fnu", 8, "int32_data", "u1"),
    25: ElementType("uint2", 2, "int32_data", "u1"),
    26: ElementType("int2", 2, "int32_data", "u1"),
    27: ElementType("float6_e2m3fn", 6, "int32_data", "u1"),
    28: ElementType("float6_e3m2fn", 6, "int32_data", "u1"),
}


def element_type(dtype: int, tensor: str) -> ElementType:
    found = _TYPES.get(dtype)
    if found is None:
        raise InvalidModel(f"element type {dtype} does not exist", tensor=tensor)
    return found


def is_element_type(dtype: int) -> bool:
    return dtype in _TYPES


def unpack(data: bytes | memoryview, dtype: int, count: int) -> bytes:
    """Packed sub-byte elements (least significant bits first) as one byte each, upper bits zero as in ml_dtypes."""
    bits = _TYPES[dtype].bits
    packed = np.frombuffer(data, np.uint8)
    if bits == 6:
        return _unpack_6(packed)[:count].tobytes()
    per_byte = 8 // bits
    out = np.empty((len(packed), per_byte), np.uint8)
    for i in range(per_byte):
        out[:, i] = packed >> (bits * i) & ((1 << bits) - 1)
    return out.reshape(-1)[:count].tobytes()


def _unpack_6(packed: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Four elements from every three bytes."""
    padded = np.zeros(-(-len(packed) // 3) * 3, np.uint8)
    padded[: len(packed)] = packed
    b0, b1, b2 = padded[0::3], padded[1::3], padded[2::3]
    groups = [b0 & 63, b0 >> 6 | (b1 & 15) << 2, b1 >> 4 | (b2 & 3) << 4, b2 >> 2]
    return np.stack(groups, axis=1).reshape(-1)


def normalize_bool(data: bytes | memoryview) -> bytes:
    """Any byte but 0 means true; native code relies on 0 and 1."""
    return bytes((np.frombuffer(data, np.uint8) != 0).tobytes())


def to_little_endian(values: Any, dtype: int) -> bytes:
    """The elements of a typed field of TensorProto as raw_data would hold them, sub-byte ones still packed."""
    wide = {"int32_data": "i8", "int64_data": "i8", "uint64_data": "u8"}.get(_TYPES[dtype].typed_field)
    array = np.fromiter(values, dtype=wide or _TYPES[dtype].numpy, count=len(values))
    return array.astype(_TYPES[dtype].numpy).tobytes()
