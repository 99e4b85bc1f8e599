"""Reads little-endian values from a file one after the other; every length is checked before it is believed."""

from __future__ import annotations

import struct

from ziggurat.errors import InvalidModel
from ziggurat.formats.source import FileSource

# Read at once. Vocabularies are a few megabytes.
CHUNK_BYTES = 1 << 20


class Cursor:
    """`limit` is the byte up to which the header may reach: the file's size, or less."""

    def __init__(self, source: FileSource, limit: int) -> None:
        self._source = source
        self._end = min(source.size, limit)
        self._limited = limit < source.size
        self._base = 0  # file offset of _buffer
        self._buffer = b""
        self._at = 0  # position in _buffer

    @property
    def offset(self) -> int:
        return self._base + self._at

    @property
    def left(self) -> int:
        return self._end - self.offset

    def take(self, length: int, what: str) -> bytes:
        """The next `length` bytes."""
        start = self._at
        if start + length > len(self._buffer):
            self._fill(length, what)
            start = 0
        self._at = start + length
        return self._buffer[start : self._at]

    def u32(self, what: str) -> int:
        return int.from_bytes(self.take(4, what), "little")

    def u64(self, what: str) -> int:
        return int.from_bytes(self.take(8, what), "little")

    def string(self, limit: int, what: str) -> bytes:
        length = self.u64(what)
        if length > limit:
            raise self.error(f"{what} has {length} bytes, the limit is {limit}")
        return self.take(length, what)

    def unpack(self, form: str, count: int, what: str) -> tuple[int | float | bool, ...]:
        """`count` numbers of a struct code."""
        return struct.unpack(f"<{count}{form}", self.take(count * struct.calcsize(f"<{form}"), what))

    def error(self, problem: str) -> InvalidModel:
        return InvalidModel(f"GGUF file '{self._source.given}', byte {self.offset}: {problem}")

    def _fill(self, length: int, what: str) -> None:
        offset = self.offset
        if length > self._end - offset:
            why = f"the header may reach to byte {self._end}" if self._limited else f"the file ends at {self._end}"
            raise self.error(f"{what} needs {length} bytes, but {why}")
        self._buffer = self._source.read(offset, min(max(length, CHUNK_BYTES), self._end - offset))
        self._base, self._at = offset, 0
