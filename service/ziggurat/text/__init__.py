"""Text around a language model: tokens, templates, stops, tool calls, grammars."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ziggurat.text.deltas import AssistantMessage, CallDelta, Delta, ToolCall
    from ziggurat.text.detokenizer import Detokenizer, StopStrings
    from ziggurat.text.grammars import Constraint, Grammars
    from ziggurat.text.reasoning import ReasoningSplitter
    from ziggurat.text.templates import ChatTemplate
    from ziggurat.text.tokenizer import Tokenizer
    from ziggurat.text.tool_parser import ToolParser

_HOMES = {
    "AssistantMessage": "deltas",
    "CallDelta": "deltas",
    "ChatTemplate": "templates",
    "Constraint": "grammars",
    "Delta": "deltas",
    "Detokenizer": "detokenizer",
    "Grammars": "grammars",
    "ReasoningSplitter": "reasoning",
    "StopStrings": "detokenizer",
    "Tokenizer": "tokenizer",
    "ToolCall": "deltas",
    "ToolParser": "tool_parser",
}
__all__ = [
    "AssistantMessage",
    "CallDelta",
    "ChatTemplate",
    "Constraint",
    "Delta",
    "Detokenizer",
    "Grammars",
    "ReasoningSplitter",
    "StopStrings",
    "Tokenizer",
    "ToolCall",
    "ToolParser",
]


def __getattr__(name: str) -> Any:
    # On first use: jinja2, tokenizers and llguidance take a tenth of a second each.
    if name not in _HOMES:
        raise AttributeError(f"module 'ziggurat.text' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ziggurat.text.{_HOMES[name]}"), name)
