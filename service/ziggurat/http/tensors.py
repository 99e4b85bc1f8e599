"""Tensors on the wire: JSON values or raw bytes to arrays, and back. Every error names the tensor, what was expected
and what came."""

from __future__ import annotations

import itertools
import math
import struct
from typing import Any

import numpy as np
import orjson

from ziggurat.engine.json_numbers import NumberText, NumberWriter
from ziggurat.errors import InvalidArgument
from ziggurat.http.datatypes import BYTE_RANGES, Datatype

NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

Array = np.ndarray[Any, np.dtype[Any]]


def from_json(data: object, datatype: Datatype, shape: tuple[int, ...], name: str) -> Array:
    """Nested or flat `data`, row-major. Integers are exact; NaN and infinities may be strings."""
    if not datatype.json:
        raise InvalidArgument(f"{datatype.name} has no JSON form: send it as binary data", tensor=name)
    if isinstance(data, NumberText):
        array = None if datatype.dtype is None else data.read(datatype.dtype, shape)
        if array is not None:
            return array
        data = _load(data, name)
    flat = _flatten(data, shape, name)
    count = math.prod(shape)
    if len(flat) != count:
        raise InvalidArgument(f"shape {list(shape)} has {count} elements, 'data' has {len(flat)}", tensor=name)
    kinds = set(map(type, flat))
    if datatype.dtype is None:
        return _strings(flat, kinds, shape, name)
    if datatype.dtype.kind == "f":
        return _floats(flat, kinds, datatype, name).reshape(shape)
    return _integers(flat, kinds, datatype, name).reshape(shape)


def from_bytes(raw: memoryview, datatype: Datatype, shape: tuple[int, ...], name: str) -> Array:
    """Little-endian, row-major, unpadded; a view of `raw` but for BYTES."""
    count = math.prod(shape)
    if datatype.dtype is None:
        return _split_bytes(raw, count, name).reshape(shape)
    if len(raw) != count * datatype.size:
        need = f"{count * datatype.size} bytes ({count} elements of {datatype.name})"
        raise InvalidArgument(f"shape {list(shape)} needs {need}, got {len(raw)}", tensor=name)
    if datatype.name in BYTE_RANGES:
        _check_bytes(raw, datatype, name)
    return np.frombuffer(raw, datatype.dtype).reshape(shape)


def to_json(array: Array, datatype: Datatype, name: str, writer: NumberWriter | None = None) -> Array | list[Any] | str:
    """Flat values that JSON can carry, or what stands for them in `writer`'s document: non-finite numbers become the
    strings that from_json reads."""
    if not datatype.json:
        text = (
            f"{datatype.name} has no JSON form: ask for binary data (parameter 'binary_data' or 'binary_data_output')"
        )
        raise InvalidArgument(text, tensor=name)
    flat = np.ascontiguousarray(array).reshape(-1)
    if datatype.dtype is None:
        return [_text(value, name) for value in flat]
    if writer is not None and (mark := writer.take(flat)) is not None:
        return mark
    if datatype.dtype.kind == "f" and not np.isfinite(flat).all():
        return [value if math.isfinite(value) else _spell(value) for value in flat.tolist()]
    return flat


def to_bytes(array: Array, datatype: Datatype) -> bytes | memoryview:
    """A view of the array's memory where it is already as the wire wants it."""
    if datatype.dtype is None:
        parts = [value.encode() if isinstance(value, str) else bytes(value) for value in array.reshape(-1)]
        return b"".join(itertools.chain.from_iterable((struct.pack("<I", len(part)), part) for part in parts))
    flat = np.ascontiguousarray(array, datatype.dtype).reshape(-1)
    return flat.view(np.uint8).data if flat.size else b""


def _load(numbers: NumberText, name: str) -> object:
    try:
        return orjson.loads(bytes(numbers))
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"'data' is not JSON: {error}", tensor=name) from None


def _flatten(data: object, shape: tuple[int, ...], name: str) -> list[Any]:
    if not isinstance(data, list):
        if shape:
            raise InvalidArgument(f"'data' must be an array, got {type(data).__name__}", tensor=name)
        return [data]
    if not data or type(data[0]) is not list:
        return data
    level: list[Any] = [data]
    for axis, extent in enumerate(shape):
        # `level` holds all arrays of this depth; what is no list where one must be, or the reverse, shows by its type.
        if set(map(type, level)) != {list} or set(map(len, level)) != {extent}:
            text = f"nested 'data' does not have shape {list(shape)}: wrong at axis {axis}"
            raise InvalidArgument(text, tensor=name)
        level = list(itertools.chain.from_iterable(level))
        if not level:
            break
    return level


def _floats(flat: list[Any], kinds: set[type], datatype: Datatype, name: str) -> Array:
    if str in kinds:
        flat = [NON_FINITE.get(value, value) if type(value) is str else value for value in flat]
        kinds = set(map(type, flat))
    _allow(kinds, (float, int), datatype, name)
    try:
        wide = np.array(flat, np.float64)
    except OverflowError:
        raise InvalidArgument(f"'data' holds a number beyond {datatype.name}", tensor=name) from None
    with np.errstate(over="ignore"):
        array = wide.astype(datatype.dtype)
    if array.dtype != wide.dtype and np.isinf(array).sum() != np.isinf(wide).sum():
        raise InvalidArgument(f"'data' holds a number beyond {datatype.name}", tensor=name)
    return array


def _integers(flat: list[Any], kinds: set[type], datatype: Datatype, name: str) -> Array:
    boolean = datatype.name == "BOOL"
    if float in kinds and any(type(value) is float and abs(value) >= 2**63 for value in flat):
        # The parser has no integers beyond 64 bits, so it makes them floats; no fraction is that large.
        raise InvalidArgument(f"'data' holds a number beyond {datatype.name}", tensor=name)
    _allow(kinds, (bool, int) if boolean else (int,), datatype, name)
    if boolean and int in kinds and not set(flat) <= {0, 1}:
        raise InvalidArgument("BOOL is true, false, 1 or 0", tensor=name)
    try:
        return np.array(flat, datatype.dtype)
    except OverflowError:
        raise InvalidArgument(f"'data' holds a number beyond {datatype.name}", tensor=name) from None


def _strings(flat: list[Any], kinds: set[type], shape: tuple[int, ...], name: str) -> Array:
    if kinds - {str}:
        raise InvalidArgument("BYTES in JSON are strings; send other bytes as binary data", tensor=name)
    array = np.empty(len(flat), object)
    try:
        array[:] = [value.encode() for value in flat]
    except UnicodeEncodeError:
        raise InvalidArgument("'data' holds a string with half of a surrogate pair", tensor=name) from None
    return array.reshape(shape)


def _allow(kinds: set[type], allowed: tuple[type, ...], datatype: Datatype, name: str) -> None:
    wrong = kinds.difference(allowed)
    if wrong:
        names = {float: "number with a fraction", int: "integer", bool: "boolean", str: "string", type(None): "null"}
        got = ", ".join(sorted(names.get(kind, kind.__name__) for kind in wrong))
        raise InvalidArgument(f"expected {datatype.name} values, 'data' holds: {got}", tensor=name)


def _split_bytes(raw: memoryview, count: int, name: str) -> Array:
    values: list[bytes] = []
    offset = 0
    while offset < len(raw):
        if len(raw) - offset < 4:
            raise InvalidArgument(f"BYTES data ends inside a length, at byte {offset}", tensor=name)
        (length,) = struct.unpack_from("<I", raw, offset)
        offset += 4
        if length > len(raw) - offset:
            text = f"BYTES element {len(values)} claims {length} bytes, {len(raw) - offset} are left"
            raise InvalidArgument(text, tensor=name)
        values.append(bytes(raw[offset : offset + length]))
        offset += length
    if len(values) != count:
        raise InvalidArgument(f"the shape has {count} elements, the BYTES data {len(values)}", tensor=name)
    array = np.empty(count, object)
    array[:] = values
    return array


def _check_bytes(raw: memoryview, datatype: Datatype, name: str) -> None:
    low, high = BYTE_RANGES[datatype.name]
    values = np.frombuffer(raw, np.int8 if low < 0 else np.uint8)
    if values.size and (values.min() < low or values.max() > high):
        raise InvalidArgument(f"a byte of {datatype.name} must lie in {low}..{high}", tensor=name)


def _text(value: object, name: str) -> str:
    if isinstance(value, str):
        return value
    try:
        return bytes(value).decode()  # type: ignore[call-overload, no-any-return]
    except UnicodeDecodeError:
        text = "holds bytes that are not UTF-8, which JSON cannot carry: ask for binary data"
        raise InvalidArgument(text, tensor=name) from None


def _spell(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
