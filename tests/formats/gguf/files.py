"""GGUF files for tests: whole ones by the gguf package, and headers byte by byte."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def info(name: str, dims: list[int], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def header(
    pairs: list[bytes],
    infos: list[bytes],
    *,
    version: int = 3,
    magic: bytes = b"GGUF",
    tensors: int | None = None,
    keys: int | None = None,
) -> bytes:
    counts = (len(infos) if tensors is None else tensors, len(pairs) if keys is None else keys)
    return magic + struct.pack("<IQQ", version, *counts) + b"".join(pairs) + b"".join(infos)


def with_data(head: bytes, data: bytes, alignment: int = 32) -> bytes:
    return head + bytes(-len(head) % alignment) + data


def write(path: Path, metadata: dict[str, Any], tensors: dict[str, tuple[np.ndarray[Any, Any], Any]]) -> Path:
    """By the gguf package: tensors as float32 arrays with the type to store them in."""
    writer = gguf.GGUFWriter(path, metadata.pop("arch", "llama"))
    for key, value in metadata.items():
        if key == "general.alignment":
            writer.add_custom_alignment(value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_array(key, value)
    for name, (array, kind) in tensors.items():
        writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
