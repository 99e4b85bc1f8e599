"""Arrays of numbers in JSON documents: text until it is known what they are arrays of, and text from arrays."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ziggurat import _native


@dataclass(frozen=True, slots=True)
class NumberText:
    """An array of numbers, nested or flat, that lies in `text` between two places."""

    text: bytes | memoryview
    begin: int
    end: int

    def read(self, dtype: np.dtype[Any], shape: Sequence[int]) -> np.ndarray[Any, Any] | None:
        """The numbers as an array; None where they are not surely JSON numbers of that type and shape, each in its
        range: then a general parser has the last word."""
        return _native.read_numbers(self.text, self.begin, self.end, dtype, shape)

    def __bytes__(self) -> bytes:
        return bytes(self.text[self.begin : self.end])


class NumberFinder:
    """Takes the numbers out of V2 requests: those at `inputs[i].data`."""

    def __init__(self) -> None:
        self._mark = secrets.token_hex(8)  # no client can know it

    def find(self, text: bytes | memoryview) -> tuple[bytes, dict[str, NumberText]]:
        """The text with each such array replaced by a string, and by that string the array."""
        skeleton, places = _native.find_numbers(text, self._mark)
        return skeleton, {f"{self._mark}{index}": NumberText(text, *place) for index, place in enumerate(places)}


class NumberWriter:
    """Documents whose long arrays of numbers are written without the interpreter's lock, each a part of its own."""

    LEAST = 1024  # elements; fewer are written sooner than the lock is handed over and back

    _MARK = secrets.token_hex(8)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def take(self, array: np.ndarray[Any, Any]) -> str | None:
        """What stands for the array in the document; None: leave it as it is. NaN and infinities become strings."""
        text = _native.write_numbers(array) if array.size >= self.LEAST else None
        if text is None:
            return None
        self._parts.append(text)
        return self._MARK

    def join(self, document: bytes) -> list[bytes]:
        """The parts of the text, in order, from the document that the arrays were taken for."""
        if not self._parts:
            return [document]
        rest = document.split(b'"%s"' % self._MARK.encode())
        return [part for pair in zip(rest, [*self._parts, b""], strict=True) for part in pair if part]
