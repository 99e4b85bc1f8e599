"""JSON documents whose arrays of numbers stay text until it is known what they are arrays of."""

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

    text: bytes
    begin: int
    end: int

    def read(self, dtype: np.dtype[Any], shape: Sequence[int]) -> np.ndarray[Any, Any] | None:
        """The numbers as an array; None where they are not surely JSON numbers of that type and shape, each in its
        range: then a general parser has the last word."""
        return _native.read_numbers(self.text, self.begin, self.end, dtype, shape)

    def __bytes__(self) -> bytes:
        return self.text[self.begin : self.end]


class NumberFinder:
    """Takes the numbers out of V2 requests: those at `inputs[i].data`."""

    def __init__(self) -> None:
        self._mark = secrets.token_hex(8)  # no client can know it

    def find(self, text: bytes) -> tuple[bytes, dict[str, NumberText]]:
        """The text with each such array replaced by a string, and by that string the array."""
        skeleton, places = _native.find_numbers(text, self._mark)
        return skeleton, {f"{self._mark}{index}": NumberText(text, *place) for index, place in enumerate(places)}
