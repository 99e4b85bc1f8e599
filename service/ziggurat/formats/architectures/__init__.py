"""Language models: one module an architecture, named after the model_type of its configuration."""

from __future__ import annotations

from ziggurat.formats.architectures.reader import LanguageModelSource, read_language_model
from ziggurat.formats.architectures.weights import FORMATS

__all__ = ["FORMATS", "LanguageModelSource", "read_language_model"]
