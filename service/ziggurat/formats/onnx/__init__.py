"""Reads ONNX models. The only entry point is `read_onnx`."""

from __future__ import annotations

from ziggurat.formats.onnx.builder import Attribute, Builder, TypeSpec
from ziggurat.formats.onnx.reader import Imported, read_onnx

__all__ = ["Attribute", "Builder", "Imported", "TypeSpec", "read_onnx"]
