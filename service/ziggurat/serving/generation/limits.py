"""How much may wait for a language model: so many sequences, and so many prompt tokens that have not been read yet."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ziggurat.errors import Overloaded

BYTES_PER_TOKEN = 3  # a guess for text that has not been cut into tokens: English has 4 to 5, code and Chinese 3


@dataclass(slots=True)
class Ticket:
    """What one request takes of the limits; give it back by `Limits.release`."""

    sequences: int
    tokens: int


class Limits:
    """Counts before any work is done for a request. Lives on one event loop."""

    def __init__(self, sequences: int, tokens: int) -> None:
        self.sequences = sequences
        self.tokens = tokens
        self.taken = Ticket(0, 0)
        self._mean_seconds = 1.0  # from a sequence's start to its end, recent ones weighing more

    def check(self) -> None:
        """Raises Overloaded where even the smallest request would be refused: before its body is read."""
        self._check(1, 1)

    def acquire(self, sequences: int, tokens: int) -> Ticket:
        """Raises Overloaded where the limits leave no room; a request alone always has room for its tokens."""
        self._check(sequences, tokens)
        self.taken.sequences += sequences
        self.taken.tokens += tokens
        return Ticket(sequences, tokens)

    def correct(self, ticket: Ticket, tokens: int) -> None:
        """Replaces the guess of a ticket's prompt tokens; 0 once they have been read."""
        self.taken.tokens += tokens - ticket.tokens
        ticket.tokens = tokens

    def release(self, ticket: Ticket, seconds: float | None = None) -> None:
        """Gives a ticket back, `seconds` after it was taken where its request ran to its end."""
        self.taken.sequences -= ticket.sequences
        self.correct(ticket, 0)
        ticket.sequences = 0
        if seconds is not None:
            self._mean_seconds += 0.1 * (seconds - self._mean_seconds)

    def _check(self, sequences: int, tokens: int) -> None:
        taken = self.taken
        if taken.sequences + sequences > self.sequences:
            raise self._overloaded(f"{taken.sequences} sequences run or wait, {self.sequences} is the limit")
        if taken.tokens and taken.tokens + tokens > self.tokens:
            raise self._overloaded(f"{taken.tokens} prompt tokens wait to be read, {self.tokens} is the limit")

    def _overloaded(self, text: str) -> Overloaded:
        return Overloaded(text, retry_after=math.ceil(min(max(self._mean_seconds, 1.0), 60.0)))
