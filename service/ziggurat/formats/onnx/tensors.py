"""TensorProto and SparseTensorProto to (dtype, shape, data), with every size checked before a byte is touched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ziggurat.errors import InvalidModel, Unsupported
from ziggurat.formats.onnx import dtypes
from ziggurat.formats.onnx.builder import Builder
from ziggurat.formats.onnx.external import ExternalData, FileRange
from ziggurat.formats.onnx.walker import Blob, Skeleton
from ziggurat.formats.source import Source

_TYPED_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
_EXTERNAL = 1  # TensorProto.DataLocation
# Sparse tensors are made dense; this many bytes at most, for a few indices may describe any size.
MAX_DENSE_BYTES = 1 << 31

# So that sizes in bytes, of elements of up to 16, fit into 63 bits.
MAX_ELEMENTS = 1 << 58

Data: TypeAlias = bytes | memoryview | FileRange | list[bytes]


@dataclass(frozen=True)
class TensorValue:
    """`data` is little-endian with at least a byte an element, or a range of a file that holds the same."""

    dtype: int
    shape: list[int]
    data: Data


class Tensors:
    """Reads the tensors of one model. `source` is what the skeleton's blobs point into."""

    def __init__(self, source: Source, skeleton: Skeleton, external: ExternalData) -> None:
        self._source = source
        self._skeleton = skeleton
        self._external = external

    def add(self, builder: Builder, name: str, value: TensorValue) -> int:
        """Makes the value a constant of the builder's graph."""
        if isinstance(value.data, FileRange):
            path, offset, length = value.data
            return builder.constant_file(name, value.dtype, value.shape, path, offset, length)
        if isinstance(value.data, list):
            return builder.string_constant(name, value.shape, value.data)
        return builder.constant(name, value.dtype, value.shape, value.data)

    def read(self, proto: Any, name: str | None = None) -> TensorValue:
        name = proto.name if name is None else name
        element = dtypes.element_type(proto.data_type, name)
        shape = checked_shape(proto.dims, name)
        if proto.HasField("segment"):
            raise Unsupported("the tensor is stored in segments", tensor=name)
        count = math.prod(shape)
        if proto.data_type == dtypes.STRING:
            return TensorValue(proto.data_type, shape, _strings(proto, count, name))
        expected = -(-count * element.bits // 8)
        if proto.data_location == _EXTERNAL:
            data: bytes | memoryview | FileRange = self._external.resolve(proto.external_data, expected, name)
        elif proto.HasField("raw_data"):
            data = self._raw(proto, element.typed_field, name)
        else:
            return TensorValue(proto.data_type, shape, _typed(proto, element, count, name))
        length = data.length if isinstance(data, FileRange) else len(data)
        if length != expected:
            raise _wrong_size(element.name, shape, f"{expected} bytes", f"{length} bytes", name)
        return TensorValue(proto.data_type, shape, self._whole_bytes(data, proto.data_type, element.bits, count))

    def in_memory(self, value: TensorValue) -> bytes | memoryview | list[bytes]:
        """The elements; read from the file if they are still there."""
        return self._load(value.data) if isinstance(value.data, FileRange) else value.data

    def read_sparse(self, proto: Any, name: str) -> TensorValue:
        """The dense equivalent."""
        values, indices = self.read(proto.values, name), self.read(proto.indices, name)
        elements, positions = self.in_memory(values), self.in_memory(indices)
        shape = checked_shape(proto.dims, name)
        if isinstance(elements, list) or isinstance(positions, list) or indices.dtype != dtypes.INT64:
            raise InvalidModel("a sparse tensor needs numeric values and int64 indices", tensor=name)
        if len(values.shape) != 1:
            raise InvalidModel(f"the values of a sparse tensor have shape {values.shape}, expected rank 1", tensor=name)
        count = values.shape[0]
        size = max(dtypes.element_type(values.dtype, name).bits // 8, 1)
        if math.prod(shape) * size > MAX_DENSE_BYTES:
            raise Unsupported(
                f"the sparse tensor of shape {shape} takes more than {MAX_DENSE_BYTES} bytes when dense", tensor=name
            )
        rows = _flat_positions(np.frombuffer(positions, "<i8"), indices.shape, count, shape, name)
        dense = np.zeros((math.prod(shape), size), np.uint8)
        dense[rows] = np.frombuffer(elements, np.uint8).reshape(count, size)
        return TensorValue(values.dtype, shape, dense.tobytes())

    def _raw(self, proto: Any, typed_field: str, name: str) -> bytes | memoryview | FileRange:
        if any(len(getattr(proto, field)) for field in _TYPED_FIELDS):
            raise InvalidModel("the tensor has its data twice, in raw_data and in a typed field", tensor=name)
        blob: Blob | None = self._skeleton.blob_of(proto.raw_data)
        if blob is None:
            return bytes(proto.raw_data)
        if blob.field not in ("raw_data", typed_field):
            raise InvalidModel(f"the tensor has its data in {blob.field}, expected {typed_field}", tensor=name)
        if self._source.path is not None:
            return FileRange(self._source.path, blob.offset, blob.length)
        return self._source.read(blob.offset, blob.length)

    def _whole_bytes(self, data: bytes | memoryview | FileRange, dtype: int, bits: int, count: int) -> Data:
        """Bytes that native code may use as they are; only those that need work are read here."""
        if bits >= 8 and dtype != dtypes.BOOL:
            return data
        loaded = self._load(data) if isinstance(data, FileRange) else data
        return dtypes.normalize_bool(loaded) if dtype == dtypes.BOOL else dtypes.unpack(loaded, dtype, count)

    def _load(self, data: FileRange) -> bytes | memoryview:
        if data.path == self._source.path:
            return self._source.read(data.offset, data.length)
        with open(data.path, "rb") as file:
            file.seek(data.offset)
            loaded = file.read(data.length)
        if len(loaded) != data.length:
            raise InvalidModel(f"external data '{data.path}' became shorter while it was being read")
        return loaded


def checked_shape(dims: Any, name: str) -> list[int]:
    shape = [int(dim) for dim in dims]
    if any(dim < 0 for dim in shape):
        raise InvalidModel(f"shape {shape} has a negative dimension", tensor=name)
    # A dimension of 0 makes a tensor empty, yet strides are products of the others.
    if math.prod(max(dim, 1) for dim in shape) > MAX_ELEMENTS:
        raise InvalidModel(f"shape {shape} has more than {MAX_ELEMENTS} elements", tensor=name)
    return shape


def _strings(proto: Any, count: int, name: str) -> list[bytes]:
    if proto.HasField("raw_data") or proto.data_location == _EXTERNAL:
        raise InvalidModel("a string tensor must have its elements in string_data", tensor=name)
    if len(proto.string_data) != count:
        raise _wrong_size("string", list(proto.dims), f"{count} strings", f"{len(proto.string_data)}", name)
    return [bytes(value) for value in proto.string_data]


def _typed(proto: Any, element: dtypes.ElementType, count: int, name: str) -> bytes:
    """The elements of a typed field. Types of 4 and 2 bits are packed there, those of 6 are not."""
    for field in _TYPED_FIELDS:
        if field != element.typed_field and len(getattr(proto, field)):
            raise InvalidModel(
                f"the {element.name} tensor has data in {field}, expected {element.typed_field}", tensor=name
            )
    values = getattr(proto, element.typed_field)
    complex_parts = 2 if element.name.startswith("complex") else 1
    packed = 8 // element.bits if element.bits in (2, 4) else 1
    expected = -(-count * complex_parts // packed)
    if len(values) != expected:
        raise _wrong_size(element.name, list(proto.dims), f"{expected} values", f"{len(values)}", name)
    data = dtypes.to_little_endian(values, proto.data_type)
    if proto.data_type == dtypes.BOOL:
        return dtypes.normalize_bool(data)
    return dtypes.unpack(data, proto.data_type, count) if packed > 1 else data


def _flat_positions(
    flat: np.ndarray[Any, Any], given: list[int], count: int, shape: list[int], name: str
) -> np.ndarray[Any, Any]:
    """Row-major positions of the values: given as such, or as one coordinate row a value."""
    if given == [count]:
        if count and (flat.min() < 0 or flat.max() >= math.prod(shape)):
            raise InvalidModel(f"a sparse index lies outside shape {shape}", tensor=name)
        return flat
    if given != [count, len(shape)]:
        raise InvalidModel(
            f"sparse indices have shape {given}, expected [{count}] or [{count}, {len(shape)}]", tensor=name
        )
    if not flat.size:
        return np.zeros(count, np.int64)
    rows = flat.reshape(count, len(shape))
    if (rows < 0).any() or (rows >= np.array(shape, np.int64)).any():
        raise InvalidModel(f"a sparse index lies outside shape {shape}", tensor=name)
    return rows @ np.array([math.prod(shape[i + 1 :]) for i in range(len(shape))], np.int64)


def _wrong_size(kind: str, shape: list[int], expected: str, found: str, name: str) -> InvalidModel:
    return InvalidModel(f"a {kind} tensor of shape {shape} needs {expected}, but has {found}", tensor=name)
