"""Tokens of one sequence to text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ziggurat.language.events import TokenEvent
from ziggurat.text.detokenizer import Detokenizer, StopStrings

if TYPE_CHECKING:
    from ziggurat.engine import TokenEvent as EngineEvent
    from ziggurat.text.tokenizer import Tokenizer


class Stream:
    """What one of a prompt's sequences has said. Without a tokenizer all texts are empty."""

    def __init__(
        self,
        tokenizer: Tokenizer | None,
        *,
        stop: Sequence[str] = (),
        include_stop: bool = False,
        skip_special: bool = True,
        silent: frozenset[int] = frozenset(),
    ) -> None:
        self._detokenizer = None if tokenizer is None else Detokenizer(tokenizer, skip_special, continues=True)
        self._stops = StopStrings(stop, include_stop) if stop else None
        self._silent = silent if skip_special else frozenset()
        self.finished = False

    def push(self, event: EngineEvent) -> TokenEvent:
        """The event as callers see it. `finished` is set by the last one, which a stop string may make earlier than
        the engine does."""
        reason = event.finish
        text, stopped = self._text(event.token, last=reason is not None)
        if stopped:
            reason = "stop"
        self.finished = reason is not None
        token = event.token if event.token is not None and event.token >= 0 else None
        return TokenEvent(token, text, event.logprob, reason, event.index, event.top)

    def _text(self, token: int | None, last: bool) -> tuple[str, bool]:
        if self._detokenizer is None:
            return "", False
        text = ""
        if token is not None and token >= 0 and not (last and token in self._silent):
            text = self._detokenizer.push(token)
        if last:
            text += self._detokenizer.finish()
        if self._stops is None:
            return text, False
        text, matched = self._stops.push(text)
        if last and matched is None:
            text += self._stops.finish()
        return text, matched is not None
