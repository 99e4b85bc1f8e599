"""A language model as protocols see it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable


class LanguageService:
    """One loaded language model; lives in the registry beside the ONNX models."""

    def __init__(self, name: str, close: Callable[[], None]) -> None:
        self.name = name
        self._stack = contextlib.ExitStack()
        self._stack.callback(close)

    def close(self) -> None:
        self._stack.close()
