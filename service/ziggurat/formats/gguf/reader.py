"""read_gguf: the header of a GGUF file, checked.

Format: magic, version, counts, metadata pairs, tensor infos (name, dimensions innermost first, type, offset from the
start of the data), padding to the alignment, data (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ziggurat.errors import InvalidModel, Unsupported
from ziggurat.formats.gguf.cursor import Cursor
from ziggurat.formats.gguf.metadata import MetadataReader
from ziggurat.formats.gguf.types import ENCODINGS
from ziggurat.formats.source import FileSource
from ziggurat.formats.stored import MAX_DIM, Encoding, StoredTensor

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_HEADER_BYTES = 1 << 28
MAX_TENSORS = 1 << 17
MAX_NAME_BYTES = 1 << 10
MAX_TENSOR_RANK = 4
MAX_ALIGNMENT = 1 << 16


@dataclass(frozen=True)
class Gguf:
    """`metadata` has the file's keys; arrays are lists, text that is not UTF-8 has surrogate escapes."""

    path: str
    version: int
    metadata: dict[str, Any]
    tensors: dict[str, StoredTensor]


@dataclass(frozen=True, slots=True)
class _Info:
    name: str
    encoding: Encoding
    shape: tuple[int, ...]
    offset: int
    length: int


def read_gguf(path: str | os.PathLike[str]) -> Gguf:
    """Reads metadata and tensor ranges of one file.

    Raises:
        NotFound: there is no such file.
        InvalidModel: it is not GGUF or its header lies; names the file and the byte or tensor.
        Unsupported: valid, but of a version, byte order or tensor type that this build does not know.
    """
    with FileSource(path) as source:
        cursor = Cursor(source, MAX_HEADER_BYTES)
        version = _version(cursor, source)
        tensor_count, pair_count = cursor.u64("the number of tensors"), cursor.u64("the number of metadata pairs")
        if tensor_count > MAX_TENSORS:
            raise cursor.error(f"the header claims {tensor_count} tensors, the limit is {MAX_TENSORS}")
        metadata = MetadataReader(cursor).read(pair_count)
        infos: dict[str, _Info] = {}
        for _ in range(tensor_count):
            info = _info(cursor)
            if info.name in infos:
                raise cursor.error(f"the tensor {info.name!r} occurs twice")
            infos[info.name] = info
        start, alignment = _data_start(cursor, metadata)
        tensors = {info.name: _placed(info, source, start, alignment) for info in infos.values()}
        _check_overlaps(source, tensors)
        return Gguf(str(source.path), version, metadata, tensors)


def _version(cursor: Cursor, source: FileSource) -> int:
    if source.size < 4 or cursor.take(4, "the magic") != MAGIC:
        raise InvalidModel(f"'{source.given}' is not a GGUF file")
    version = cursor.u32("the version")
    if version & 0xFFFF == 0 and version >> 16:
        raise Unsupported(f"'{source.given}' is a big-endian GGUF file; convert it to little-endian")
    if version not in VERSIONS:
        raise Unsupported(f"'{source.given}' is GGUF version {version}; supported are 2 and 3")
    return version


def _info(cursor: Cursor) -> _Info:
    name = cursor.string(MAX_NAME_BYTES, "a tensor's name").decode("utf-8", "replace")
    rank = cursor.u32(f"the rank of {name!r}")
    if rank > MAX_TENSOR_RANK:
        raise cursor.error(f"the tensor {name!r} claims rank {rank}, the limit is {MAX_TENSOR_RANK}")
    dims = [cursor.u64(f"a dimension of {name!r}") for _ in range(rank)]
    if any(not 0 < dim <= MAX_DIM for dim in dims):
        raise cursor.error(f"the tensor {name!r} has dimensions {dims}")
    kind = cursor.u32(f"the type of {name!r}")
    encoding = ENCODINGS.get(kind)
    if encoding is None:
        known = ", ".join(one.name for one in ENCODINGS.values())
        raise Unsupported(f"has type {kind}, which is none of {known}", tensor=name)
    if dims and dims[0] % encoding.elements:
        problem = f"the tensor {name!r} has rows of {dims[0]}, {encoding.name} has blocks of {encoding.elements}"
        raise cursor.error(problem)
    elements = 1
    for dim in dims:
        elements *= dim
    length = elements // encoding.elements * encoding.bytes
    return _Info(name, encoding, tuple(reversed(dims)), cursor.u64(f"the offset of {name!r}"), length)


def _data_start(cursor: Cursor, metadata: dict[str, Any]) -> tuple[int, int]:
    alignment = metadata.get("general.alignment", 32)
    if not (type(alignment) is int and 0 < alignment <= MAX_ALIGNMENT and alignment & (alignment - 1) == 0):
        raise cursor.error(f"general.alignment is {str(alignment)[:40]}, expected a power of two to {MAX_ALIGNMENT}")
    return -(-cursor.offset // alignment) * alignment, alignment


def _placed(info: _Info, source: FileSource, start: int, alignment: int) -> StoredTensor:
    if info.offset % alignment:
        problem = f"in '{source.given}': its offset {info.offset} is no multiple of the alignment {alignment}"
        raise InvalidModel(problem, tensor=info.name)
    end = start + info.offset + info.length
    if end > source.size:
        problem = f"in '{source.given}': its data ends at byte {end}, the file has {source.size} (is it cut short?)"
        raise InvalidModel(problem, tensor=info.name)
    return StoredTensor(info.name, info.encoding, info.shape, str(source.path), start + info.offset, info.length)


def _check_overlaps(source: FileSource, tensors: dict[str, StoredTensor]) -> None:
    position, before = 0, ""
    for tensor in sorted(tensors.values(), key=lambda one: one.offset):
        if tensor.offset < position:
            raise InvalidModel(f"in '{source.given}': its data overlaps that of '{before}'", tensor=tensor.name)
        position, before = tensor.offset + tensor.length, tensor.name
