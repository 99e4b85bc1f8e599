"""Which protocol's shape an error takes: that of the path which was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ziggurat.http import problems as v2
from ziggurat.http.openai import problems as openai

if TYPE_CHECKING:
    from ziggurat.http.problems import Headers

_OPENAI = ("/v1/", "/openai/")
_OPENAI_ALONE = frozenset(("/rerank", "/tokenize", "/detokenize", "/version", "/load"))


def is_openai(path: str) -> bool:
    return path.startswith(_OPENAI) or path in _OPENAI_ALONE


def problem(path: str, error: Exception) -> tuple[int, Headers, bytes]:
    """Status, extra headers and body."""
    return openai.problem(error) if is_openai(path) else v2.problem(error)


def of_status(path: str, status: int, text: str) -> bytes:
    """The body of an error that no exception of ours stands for."""
    return openai.of_status(status, text) if is_openai(path) else v2.body(text)
