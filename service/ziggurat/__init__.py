"""Ziggurat serves ONNX models over HTTP, and runs them in Python, on its own inference engine.

import ziggurat
model = ziggurat.load("resnet50.onnx")
outputs = model.run({"x": array})
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ziggurat.version import __version__

if TYPE_CHECKING:
    from ziggurat.engine import CancelToken, Engine, Model
    from ziggurat.formats.repro import Repro
    from ziggurat.language import LanguageModel, TextEncoder, TokenEvent
    from ziggurat.loading import load, load_encoder, load_llm

__all__ = [
    "CancelToken",
    "Engine",
    "LanguageModel",
    "Model",
    "Repro",
    "TextEncoder",
    "TokenEvent",
    "__version__",
    "load",
    "load_encoder",
    "load_llm",
]

_HOMES = {
    "CancelToken": "ziggurat.engine",
    "Engine": "ziggurat.engine",
    "LanguageModel": "ziggurat.language",
    "Model": "ziggurat.engine",
    "Repro": "ziggurat.formats.repro",
    "TextEncoder": "ziggurat.language",
    "TokenEvent": "ziggurat.language",
    "load": "ziggurat.loading",
    "load_encoder": "ziggurat.loading",
    "load_llm": "ziggurat.loading",
}


def __getattr__(name: str) -> Any:
    # On first use: the engine and the `onnx` package take half a second that `ziggurat --help` should not.
    if name not in _HOMES:
        raise AttributeError(f"module 'ziggurat' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
