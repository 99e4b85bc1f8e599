"""Text around a language model: tokens, templates, stops, tool calls, grammars."""

from __future__ import annotations
