"""Takes the weights out of an ONNX file: the rest is small enough for the `onnx` package to parse.

A weight is the `raw_data` (or packed float_data, double_data) of a TensorProto of at least MIN_BLOB_BYTES. It is
replaced by a placeholder of raw_data that only this read can have written (16 random bytes, then the index of a Blob),
and the lengths of all enclosing messages are written anew.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ziggurat.errors import InvalidModel
from ziggurat.formats.onnx.wire import LENGTH, Field, Reader, encode_tag, encode_varint
from ziggurat.formats.source import Source

# Below this a tensor stays in the skeleton: shape arithmetic, biases of small layers.
MIN_BLOB_BYTES = 1 << 10
# protobuf's own limit on nesting; a legal model comes nowhere near.
MAX_DEPTH = 100
# Large exported models have some 10^5 nodes, of which only those with large attributes are entered.
MAX_FIELDS = 2_000_000
# What `onnx` is asked to parse at most; parsed protobuf takes several times its file size.
MAX_SKELETON_BYTES = 1 << 29

MODEL_GRAPH = 7
_RAW_DATA = 9

_Schema: TypeAlias = Mapping[int, str]
# Which fields of which message lead to tensors. Training graphs (field 20 of the model) are not ours to run.
_CHILDREN: Mapping[str, _Schema] = {
    "ModelProto": {MODEL_GRAPH: "GraphProto", 25: "FunctionProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
_DROPPED: Mapping[str, frozenset[int]] = {"ModelProto": frozenset({20})}
# Fields of TensorProto whose bytes in the file are already the little-endian elements.
_BLOB_FIELDS: Mapping[int, str] = {_RAW_DATA: "raw_data", 4: "float_data", 10: "double_data"}


@dataclass(frozen=True)
class Blob:
    """Bytes of one tensor inside the source, and the field of TensorProto that they were in."""

    field: str
    offset: int
    length: int


@dataclass
class Skeleton:
    """The model without its large tensors, and where those are."""

    data: bytes
    has_graph: bool
    blobs: list[Blob] = field(default_factory=list)
    nonce: bytes = b""

    def blob_of(self, raw_data: bytes) -> Blob | None:
        """The blob for which this raw_data stands, None if it is data itself."""
        if len(raw_data) != len(self.nonce) + 8 or not raw_data.startswith(self.nonce):
            return None
        return self.blobs[int.from_bytes(raw_data[len(self.nonce) :], "little")]


# A part of the skeleton: literal bytes, or a range of the source to copy.
_Part: TypeAlias = bytes | tuple[int, int]


class _Walk:
    def __init__(self, source: Source) -> None:
        self.reader = Reader(source, MAX_FIELDS)
        self.nonce = os.urandom(16)
        self.blobs: list[Blob] = []
        self.has_graph = False

    def message(self, kind: str, start: int, end: int, depth: int) -> tuple[list[_Part], int]:
        """The parts of the stripped message, and its new length."""
        if depth > MAX_DEPTH:
            raise InvalidModel(f"messages are nested deeper than {MAX_DEPTH} at byte {start}")
        parts: list[_Part] = []
        length = 0
        copied = start  # up to here the message is in `parts`
        for item in self.reader.fields(start, end, kind):
            replaced = self._replace(kind, item, depth)
            if replaced is None:
                continue
            if item.start > copied:
                parts.append((copied, item.start))
            parts.extend(replaced[0])
            length += item.start - copied + replaced[1]
            copied = item.end
        if end > copied:
            parts.append((copied, end))
        return parts, length + end - copied

    def _replace(self, kind: str, item: Field, depth: int) -> tuple[list[_Part], int] | None:
        """What stands in for a field, None when it stays as it is."""
        if item.number in _DROPPED.get(kind, ()):
            return [], 0
        child = _CHILDREN[kind].get(item.number)
        if kind == "ModelProto" and item.number == MODEL_GRAPH:
            self.has_graph = True
        if item.wire_type != LENGTH or item.end - item.value < MIN_BLOB_BYTES:
            return None
        if kind == "TensorProto" and item.number in _BLOB_FIELDS:
            return self._blob(item)
        if child is None:
            return None
        before = len(self.blobs)
        parts, length = self.message(child, item.value, item.end, depth + 1)
        if len(self.blobs) == before:
            return None
        header = encode_tag(item.number, LENGTH) + encode_varint(length)
        return [header, *parts], len(header) + length

    def _blob(self, item: Field) -> tuple[list[_Part], int]:
        content = self.nonce + len(self.blobs).to_bytes(8, "little")
        self.blobs.append(Blob(_BLOB_FIELDS[item.number], item.value, item.end - item.value))
        data = encode_tag(_RAW_DATA, LENGTH) + encode_varint(len(content)) + content
        return [data], len(data)


def walk(source: Source) -> Skeleton:
    """Separates skeleton and weights.

    Raises:
        InvalidModel: the bytes are not well-formed protobuf; names the message and the byte.
    """
    walk = _Walk(source)
    parts, length = walk.message("ModelProto", 0, source.size, 0)
    if length > MAX_SKELETON_BYTES:
        raise InvalidModel(
            f"the model without its weights has {length} bytes, the limit is {MAX_SKELETON_BYTES}; "
            "store large integer tensors as raw_data or external data"
        )
    data = b"".join(part if isinstance(part, bytes) else source.read(part[0], part[1] - part[0]) for part in parts)
    return Skeleton(data, walk.has_graph, walk.blobs, walk.nonce)
