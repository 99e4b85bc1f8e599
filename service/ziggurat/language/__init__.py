"""Language models and encoders in one process: text in, text or numbers out."""

from __future__ import annotations

from ziggurat.language.encoder import TextEncoder
from ziggurat.language.events import Sampling, TokenEvent
from ziggurat.language.model import LanguageModel

__all__ = ["LanguageModel", "Sampling", "TextEncoder", "TokenEvent"]
