"""The protobuf wire format, one field at a time, with every length checked against its parent.

Only what a walker needs: tags, varints and extents. Values of scalar fields are skipped, never decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ziggurat.errors import InvalidModel
from ziggurat.formats.source import Source

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10  # 64 bits in groups of 7
_FIXED_BYTES = {FIXED64: 8, FIXED32: 4}
# A tag and a length are two varints; with this many bytes at hand neither can run out of the window.
_HEADER_BYTES = 2 * _MAX_VARINT_BYTES


class Field(NamedTuple):
    """One field: its number and wire type, where its tag starts, and the extent of its value."""

    number: int
    wire_type: int
    start: int
    value: int
    end: int


class Reader:
    """Walks fields of a Source. Counts them, so that a file of millions of tiny fields is refused in time."""

    def __init__(self, source: Source, max_fields: int) -> None:
        self._source = source
        self._data: bytes | memoryview = b""
        self._base = 0
        self._fields_left = max_fields
        self._max_fields = max_fields

    def fields(self, start: int, end: int, what: str) -> Iterator[Field]:
        """The fields of the message at [start, end), which the caller has checked to lie inside the source."""
        position = start
        while position < end:
            field = self._short_field(position, end) or self._field(position, end, what)
            self._fields_left -= 1
            if self._fields_left < 0:
                raise InvalidModel(f"more than {self._max_fields} protobuf fields before byte {position}, in {what}")
            yield field
            position = field.end

    def _short_field(self, start: int, end: int) -> Field | None:
        """The commonest kind, in the fewest steps: a LENGTH field whose tag and length take a byte each."""
        data, index = self._data, start - self._base
        if end - start < 2 or index < 0 or index + 1 >= len(data):
            return None
        tag, length = data[index], data[index + 1]
        if tag >= 0x80 or tag < 8 or tag & 7 != LENGTH or length >= 0x80 or length > end - start - 2:
            return None
        return Field(tag >> 3, LENGTH, start, start + 2, start + 2 + length)

    def _field(self, start: int, end: int, what: str) -> Field:
        tag, value = self._varint(start, end, what)
        number, wire_type = tag >> 3, tag & 7
        if number == 0 or number > 0x1FFFFFFF:
            raise InvalidModel(f"{what}: field number {number} at byte {start} is out of range")
        if wire_type == LENGTH:
            length, value = self._varint(value, end, what)
            if length > end - value:
                raise InvalidModel(
                    f"{what}: field {number} at byte {start} needs {length} bytes, only {end - value} are left"
                )
            return Field(number, wire_type, start, value, value + length)
        if wire_type == VARINT:
            return Field(number, wire_type, start, value, self._varint(value, end, what)[1])
        size = _FIXED_BYTES.get(wire_type)
        if size is None:
            raise InvalidModel(f"{what}: unknown wire type {wire_type} at byte {start}")
        if size > end - value:
            raise InvalidModel(f"{what}: field {number} at byte {start} is cut off")
        return Field(number, wire_type, start, value, value + size)

    def _varint(self, position: int, end: int, what: str) -> tuple[int, int]:
        """The unsigned value at `position`, and the position after it."""
        data, index = self._at(position, end)
        result = shift = 0
        limit = min(len(data), index + min(_MAX_VARINT_BYTES, end - position))
        for at in range(index, limit):
            byte = data[at]
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result, position + at + 1 - index
            shift += 7
        if end - position >= _MAX_VARINT_BYTES:
            raise InvalidModel(f"{what}: varint of more than {_MAX_VARINT_BYTES} bytes at byte {position}")
        raise InvalidModel(f"{what}: cut off inside a varint at byte {position}")

    def _at(self, position: int, end: int) -> tuple[bytes | memoryview, int]:
        """The window that holds `position`, and the index of it there."""
        index = position - self._base
        if index < 0 or index + min(_HEADER_BYTES, end - position) > len(self._data):
            self._data, self._base, index = self._source.window(position), position, 0
        return self._data, index


def encode_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_tag(number: int, wire_type: int) -> bytes:
    return encode_varint(number << 3 | wire_type)
