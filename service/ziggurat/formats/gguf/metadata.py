"""The key-value pairs of a GGUF header as Python values."""

from __future__ import annotations

from typing import Any

from ziggurat.formats.gguf.cursor import Cursor

MAX_PAIRS = 1 << 16
MAX_KEY_BYTES = 1 << 16  # the specification's limit
# tokenizer.huggingface.json is the longest string in use, some ten megabytes.
MAX_STRING_BYTES = 1 << 26
# Vocabularies have up to 300,000 tokens and twice as many merges. All arrays of a file together:
MAX_ELEMENTS = 1 << 22
MAX_ARRAY_DEPTH = 3

_STRING, _ARRAY = 8, 9
# Numbers: type -> struct code.
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class MetadataReader:
    """Reads one file's pairs; counts the elements of all its arrays."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._left = MAX_ELEMENTS

    def read(self, count: int) -> dict[str, Any]:
        cursor = self._cursor
        if count > MAX_PAIRS:
            raise cursor.error(f"the header claims {count} metadata pairs, the limit is {MAX_PAIRS}")
        pairs: dict[str, Any] = {}
        for number in range(count):
            key = _text(cursor.string(MAX_KEY_BYTES, f"the key of metadata pair {number}"))
            if key in pairs:
                raise cursor.error(f"the metadata key {key[:100]!r} occurs twice")
            pairs[key] = self._value(cursor.u32("a value's type"), key[:100], 0)
        return pairs

    def _value(self, kind: int, key: str, depth: int) -> Any:
        cursor = self._cursor
        if kind in _NUMBERS:
            return cursor.unpack(_NUMBERS[kind], 1, key)[0]
        if kind == _STRING:
            return _text(cursor.string(MAX_STRING_BYTES, key))
        if kind == _ARRAY:
            return self._array(key, depth + 1)
        raise cursor.error(f"{key} has the unknown value type {kind}")

    def _array(self, key: str, depth: int) -> list[Any]:
        cursor = self._cursor
        if depth > MAX_ARRAY_DEPTH:
            raise cursor.error(f"{key} has arrays nested deeper than {MAX_ARRAY_DEPTH}")
        kind, count = cursor.u32(key), cursor.u64(key)
        self._left -= min(count, MAX_ELEMENTS + 1)
        if self._left < 0:
            raise cursor.error(f"{key} brings the file's arrays above {MAX_ELEMENTS} elements")
        if kind in _NUMBERS:
            return list(cursor.unpack(_NUMBERS[kind], count, key))
        return [self._value(kind, key, depth) for _ in range(count)]


def _text(data: bytes) -> str:
    """Vocabularies may hold pieces of characters; surrogateescape keeps their bytes for the tokenizer."""
    return data.decode("utf-8", "surrogateescape")
