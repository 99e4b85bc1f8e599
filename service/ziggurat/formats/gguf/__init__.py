"""GGUF files: metadata and where the tensors lie."""

from __future__ import annotations

from ziggurat.formats.gguf.reader import Gguf, read_gguf
from ziggurat.formats.gguf.types import ENCODINGS

__all__ = ["ENCODINGS", "Gguf", "read_gguf"]
