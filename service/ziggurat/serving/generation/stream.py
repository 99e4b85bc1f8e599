"""A request's results as they come: tokens to text, stop texts, and a bounded backlog for whoever reads slowly."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ziggurat.errors import Overloaded
from ziggurat.text.detokenizer import StopStrings

if TYPE_CHECKING:
    from ziggurat.engine import TokenEvent
    from ziggurat.serving.generation.limits import Ticket
    from ziggurat.serving.generation.request import Generation
    from ziggurat.text.detokenizer import Detokenizer


@dataclass(frozen=True, slots=True)
class Token:
    """One token that was generated: its id, and its log probability with the best alternatives where wanted."""

    id: int
    logprob: float | None = None
    top: Sequence[tuple[int, float]] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """What one step gave one choice. `text` may be empty: part of a character, or held back as a stop text's start."""

    index: int
    text: str
    token: Token | None
    finish: str | None = None
    stop_reason: str | int | None = None


@dataclass(slots=True)
class Prompt:
    """One prompt of a request, and what the engine said about it."""

    tokens: Sequence[int]
    text: str | None = None
    cached: int = 0
    logprobs: Sequence[Token] | None = None


class Choice:
    """One sequence: its text so far, and whether it has ended."""

    def __init__(self, index: int, wanted: Generation, text: Detokenizer, eos: frozenset[int]) -> None:
        self.index = index
        self.tokens = 0
        self.finished = False
        self.last = 0.0
        self._wanted = wanted
        self._quiet = eos | frozenset(wanted.stop_token_ids)  # end the text without standing in it
        self._text = text
        self._stops = StopStrings(wanted.stop, wanted.include_stop) if wanted.stop else None

    def feed(self, event: TokenEvent) -> Piece:
        wanted = self._wanted
        if event.token is None:  # the end came without another token
            self.finished = True
            return Piece(self.index, self._text.finish() + self._rest(), None, event.finish)
        self.tokens += 1
        ended = event.finish == "stop"
        text = "" if ended and event.token in self._quiet else self._text.push(event.token)
        finish, reason = event.finish, event.token if ended and event.token in wanted.stop_token_ids else None
        if finish is not None:
            text += self._text.finish()
        matched: str | None = None
        if self._stops is not None and (self.tokens > wanted.min_tokens or finish is not None):
            text, matched = self._stops.push(text)
            if matched is not None:
                finish = "stop"
            elif finish is not None:
                text += self._rest()
        self.finished = finish is not None
        token = Token(event.token, event.logprob, event.top or ())
        return Piece(self.index, text, token, finish, matched if matched is not None else reason)

    def _rest(self) -> str:
        return self._stops.finish() if self._stops is not None else ""


@dataclass(slots=True)
class Part:
    """One engine request of a stream: a prompt and its n choices."""

    prompt: Prompt
    choices: list[Choice]
    open: int = 0
    request: int = -1

    def __post_init__(self) -> None:
        self.open = len(self.choices)


@dataclass(slots=True)
class Times:
    """Monotonic seconds; 0 until it happened."""

    arrived: float
    submitted: float = 0.0
    first: float = 0.0
    ended: float = 0.0


class Stream:
    """Lives on one event loop. Iterate for lists of pieces, each with all that came since the last; the iteration ends
    when every choice has, or raises the error that ended it. `close` at any time gives everything back."""

    def __init__(
        self,
        wanted: Generation,
        parts: list[Part],
        ticket: Ticket,
        backlog: int,
        arrived: float,
        end: Callable[[Stream], None],
    ) -> None:
        self.wanted = wanted
        self.parts = parts
        self.ticket = ticket
        self.times = Times(arrived)
        self.error: Exception | None = None
        self.overflowed: Callable[[], None] | None = None  # called when the reader is too slow to be waited for
        self._backlog = backlog
        self._end = end
        self._pieces: deque[Piece] = deque()
        self._news = asyncio.Event()
        self._nudged = False
        self.ended = False

    @property
    def prompt_tokens(self) -> int:
        return sum(len(part.prompt.tokens) for part in self.parts)

    @property
    def cached_tokens(self) -> int:
        return sum(part.prompt.cached for part in self.parts)

    @property
    def generated_tokens(self) -> int:
        return sum(choice.tokens for part in self.parts for choice in part.choices)

    def push(self, piece: Piece) -> None:
        self._pieces.append(piece)
        self._news.set()
        if len(self._pieces) > self._backlog:
            self._pieces.clear()
            self.finish(Overloaded(f"the client reads too slowly: more than {self._backlog} tokens wait for it"))
            if self.overflowed is not None:
                self.overflowed()

    def finish(self, error: Exception | None = None) -> None:
        """No more pieces will come."""
        if self.ended:
            return
        self.ended = True
        self.error = error
        self.times.ended = time.monotonic()
        self._news.set()
        self._end(self)

    def close(self) -> None:
        """For a reader that wants no more: cancels what still runs."""
        self.finish()

    def __aiter__(self) -> Stream:
        return self

    def nudge(self) -> None:
        """Lets the reader have an empty list where nothing has come."""
        self._nudged = True
        self._news.set()

    async def __anext__(self) -> list[Piece]:
        while not self._pieces and not self._nudged:
            if self.ended:
                if self.error is not None:
                    raise self.error
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        pieces = list(self._pieces)
        self._pieces.clear()
        self._nudged = False
        return pieces


@dataclass(slots=True)
class Whole:
    """A choice from its first token to its last."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)  # the text of each token, as it was told
    finish: str | None = None
    stop_reason: str | int | None = None

    def add(self, piece: Piece) -> None:
        self.text += piece.text
        if piece.token is not None:
            self.tokens.append(piece.token)
            self.pieces.append(piece.text)
        if piece.finish is not None:
            self.finish, self.stop_reason = piece.finish, piece.stop_reason


async def collect(stream: Stream) -> list[Whole]:
    """Every choice of a stream in the order of its index."""
    wholes = [Whole() for part in stream.parts for _ in part.choices]
    async for pieces in stream:
        for piece in pieces:
            wholes[piece.index].add(piece)
    return wholes
