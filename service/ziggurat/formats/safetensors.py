"""safetensors: the header of a file, and the index of a checkpoint in several.

The format: 8 bytes with the header's length (little-endian), the header as a JSON object of name to dtype, shape and
data_offsets (from the end of the header), then the data, which the tensors cover without holes or overlaps
(https://github.com/huggingface/safetensors#format). We parse the header ourselves because weights go to the graph as
ranges of the file; nothing is read or mapped here but the header.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from ziggurat.errors import InvalidModel, NotFound
from ziggurat.formats.source import FileSource
from ziggurat.formats.stored import BF16, F16, F32, MAX_DIM, MAX_RANK, Encoding, StoredTensor

# A header has some 150 bytes a tensor; the largest checkpoints have 10^5 tensors over all their files.
MAX_HEADER_BYTES = 1 << 25
MAX_INDEX_BYTES = 1 << 26

ENCODINGS: Mapping[str, Encoding] = {
    "F32": F32,
    "F16": F16,
    "BF16": BF16,
    "F64": Encoding("f64", 1, 8, dtype=11),
    "I64": Encoding("i64", 1, 8, dtype=7),
    "I32": Encoding("i32", 1, 4, dtype=6),
    "I16": Encoding("i16", 1, 2, dtype=5),
    "I8": Encoding("i8", 1, 1, dtype=3),
    "U64": Encoding("u64", 1, 8, dtype=13),
    "U32": Encoding("u32", 1, 4, dtype=12),
    "U16": Encoding("u16", 1, 2, dtype=4),
    "U8": Encoding("u8", 1, 1, dtype=2),
    "BOOL": Encoding("bool", 1, 1, dtype=9),
    "F8_E4M3": Encoding("f8_e4m3", 1, 1, dtype=17),
    "F8_E5M2": Encoding("f8_e5m2", 1, 1, dtype=19),
    "F8_E8M0": Encoding("f8_e8m0", 1, 1, dtype=24),
    "C64": Encoding("c64", 1, 8, dtype=14),
}


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, StoredTensor]:
    """The tensors of one file, by name.

    Raises:
        NotFound: there is no such file.
        InvalidModel: the header lies; names the file, the tensor and what was expected.
    """
    with FileSource(path) as source:
        start, header = _header(source)
        tensors = {}
        for name, entry in header.items():
            if name != "__metadata__":
                tensors[name] = _tensor(source, name, entry, start)
        _check_coverage(source, tensors, start)
        return tensors


def read_index(path: str | os.PathLike[str]) -> dict[str, StoredTensor]:
    """The tensors of all files that a model.safetensors.index.json names.

    Raises:
        InvalidModel: the index is damaged, a file it names is missing, or a tensor is not where it says.
    """
    with FileSource(path) as source:
        index = _json(source, 0, source.size, MAX_INDEX_BYTES, "the index")
    places = index.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise InvalidModel(f"'{path}' has no weight_map")
    folder = os.path.dirname(os.path.abspath(path))
    files: dict[str, dict[str, StoredTensor]] = {}
    tensors = {}
    for name, file in places.items():
        if not isinstance(file, str) or file in ("", ".", "..") or os.path.basename(file) != file or "\0" in file:
            raise InvalidModel(f"'{path}' places it in {file!r}, expected the name of a file beside it", tensor=name)
        if file not in files:
            files[file] = _shard(os.path.join(folder, file), name)
        if name not in files[file]:
            raise InvalidModel(f"'{path}' says that it is in '{file}', which does not have it", tensor=name)
        tensors[name] = files[file][name]
    return tensors


def _shard(path: str, tensor: str) -> dict[str, StoredTensor]:
    try:
        return read_safetensors(path)
    except NotFound:
        raise InvalidModel(f"the file '{path}' of this checkpoint is missing", tensor=tensor) from None


def _header(source: FileSource) -> tuple[int, dict[str, Any]]:
    if source.size < 8:
        raise InvalidModel(f"'{source.given}' is not safetensors: it has {source.size} bytes, the header needs 8")
    length = int.from_bytes(source.read(0, 8), "little")
    if length > source.size - 8:
        raise InvalidModel(
            f"'{source.given}' is not safetensors or is cut short: its header should have {length} bytes, "
            f"the file has {source.size}"
        )
    return 8 + length, _json(source, 8, length, MAX_HEADER_BYTES, "the header")


def _json(source: FileSource, offset: int, length: int, limit: int, what: str) -> dict[str, Any]:
    if length > limit:
        raise InvalidModel(f"{what} of '{source.given}' has {length} bytes, the limit is {limit}")
    try:
        value = json.loads(source.read(offset, length).decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InvalidModel(f"{what} of '{source.given}' is not valid JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise InvalidModel(f"{what} of '{source.given}' is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:100]!r} occurs twice")
    return found


def _tensor(source: FileSource, name: str, entry: Any, start: int) -> StoredTensor:
    def refuse(problem: str) -> InvalidModel:
        return InvalidModel(f"in '{source.given}': {problem}", tensor=name[:200])

    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise refuse("expected dtype, shape and data_offsets")
    encoding = ENCODINGS.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if encoding is None:
        raise refuse(f"unknown dtype {str(entry['dtype'])[:40]!r}; known are {', '.join(ENCODINGS)}")
    shape = _sizes(entry["shape"], MAX_DIM)
    if shape is None or len(shape) > MAX_RANK:
        raise refuse(f"bad shape {str(entry['shape'])[:100]}, expected up to {MAX_RANK} sizes")
    offsets = _sizes(entry["data_offsets"], 1 << 62)
    if offsets is None or len(offsets) != 2:
        raise refuse(f"bad data_offsets {str(entry['data_offsets'])[:100]}")
    begin, end = offsets
    if not begin <= end <= source.size - start:
        raise refuse(f"data_offsets {begin} to {end} lie outside the file's {source.size - start} bytes of data")
    needed = encoding.bytes
    for extent in shape:
        needed *= extent
    if end - begin != needed:
        raise refuse(f"has {end - begin} bytes of data, {entry['dtype']} of shape {list(shape)} needs {needed}")
    return StoredTensor(name, encoding, shape, str(source.path), start + begin, needed)


def _sizes(values: Any, limit: int) -> tuple[int, ...] | None:
    """A list of integers from 0 to `limit`, None for anything else. JSON's true is no number."""
    if isinstance(values, list) and all(type(value) is int and 0 <= value <= limit for value in values):
        return tuple(values)
    return None


def _check_coverage(source: FileSource, tensors: Mapping[str, StoredTensor], start: int) -> None:
    """The tensors lie one after the other from the header to the end of the file."""
    position = start
    for tensor in sorted(tensors.values(), key=lambda one: (one.offset, one.length)):
        if tensor.offset != position:
            what = "overlaps the tensor before it" if tensor.offset < position else "leaves a hole before it"
            raise InvalidModel(f"in '{source.given}': its data {what}", tensor=tensor.name)
        position += tensor.length
    if position != source.size:
        raise InvalidModel(f"'{source.given}' has {source.size - position} bytes behind its last tensor")
