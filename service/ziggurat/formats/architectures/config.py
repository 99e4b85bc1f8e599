"""Typed, bounded access to a config.json: a wrong value is an error that names the key and what was expected."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ziggurat.errors import InvalidModel

# No model comes near; products of two stay in int64.
MAX_SIZE = 1 << 28
_MISSING: Any = object()


class Config:
    """A JSON object of a model's configuration. A key with null counts as absent."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values = values
        self.where = where

    def has(self, key: str) -> bool:
        return self._values.get(key) is not None

    def integer(self, key: str, default: int = _MISSING, *, least: int = 1, most: int = MAX_SIZE) -> int:
        value = self._get(key, default)
        if type(value) is not int or not least <= value <= most:
            raise self.error(key, f"an integer from {least} to {most}")
        return value

    def number(self, key: str, default: float = _MISSING, *, least: float = -math.inf, most: float = math.inf) -> float:
        value = self._get(key, default)
        if not _is_number(value) or not least <= value <= most:
            raise self.error(key, f"a number from {least} to {most}")
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self._get(key, default)
        if type(value) is not bool:
            raise self.error(key, "true or false")
        return value

    def text(self, key: str, default: str = _MISSING) -> str:
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self.error(key, "a string")
        return value

    def numbers(self, key: str, count: int) -> list[float]:
        value = self._get(key, _MISSING)
        if not isinstance(value, list) or len(value) != count:
            raise self.error(key, f"a list of {count} numbers")
        if not all(map(_is_number, value)):
            raise self.error(key, f"a list of {count} numbers")
        return [float(one) for one in value]

    def list(self, key: str, least: int) -> list[Any]:
        """A list of at least so many values of any kind."""
        value = self._get(key, _MISSING)
        if not isinstance(value, list) or len(value) < least:
            raise self.error(key, f"a list of {least} values")
        return value

    def section(self, key: str) -> Config:
        """An object in this one; empty where the key is absent."""
        value = self._get(key, {})
        if not isinstance(value, Mapping):
            raise self.error(key, "an object")
        return Config(value, f"{self.where}, {key}")

    def token_ids(self, key: str) -> tuple[int, ...]:
        """A token id or a list of them; nothing where the key is absent."""
        value = self._get(key, [])
        ids = value if isinstance(value, list) else [value]
        if any(type(one) is not int for one in ids):
            raise self.error(key, "a token id or a list of them")
        return tuple(one for one in ids if one >= 0)  # -1 is how old configurations spell "none"

    def with_values(self, **values: Any) -> Config:
        return Config({**self._values, **values}, self.where)

    def error(self, key: str, expected: str) -> InvalidModel:
        value = self._values.get(key)
        found = "is missing" if value is None else f"is {str(value)[:60]!r}"
        return InvalidModel(f"{self.where}: {key!r} {found}, expected {expected}")

    def _get(self, key: str, default: Any) -> Any:
        value = self._values.get(key)
        if value is not None:
            return value
        if default is _MISSING:
            raise InvalidModel(f"{self.where} lacks {key!r}")
        return default


def _is_number(value: Any) -> bool:
    """Finite, and small enough for a float32 beside other factors. JSON's integers may have thousands of digits."""
    return type(value) in (int, float) and -1e30 <= value <= 1e30
