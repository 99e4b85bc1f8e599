"""Token ids to text while they come, and the strings that end a text."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ziggurat.errors import InvalidArgument

if TYPE_CHECKING:
    from ziggurat.text.tokenizer import Tokenizer

MAX_STOPS = 64
MAX_STOP_LENGTH = 4096  # characters


class Detokenizer:
    """Text of one sequence, token by token; constant time per byte. One thread at a time.

    What `push` and `finish` return, joined, is `Tokenizer.decode` of the same ids. A character comes out once its last
    byte is there, never in parts; bytes that cannot become one come out as U+FFFD.
    """

    def __init__(
        self, tokenizer: Tokenizer, skip_special: bool = True, *, keep: Iterable[int] = (), continues: bool = False
    ) -> None:
        """
        Args:
            tokenizer: Whose ids will come.
            skip_special: Leave special tokens out of the text.
            keep: Special tokens that stay nevertheless (marks that a tool parser reads).
            continues: The text goes on from an earlier one (a completion), so a leading space is part of it.
        """
        self._pieces = tokenizer.pieces
        self._skipped = tokenizer.special_ids.difference(keep) if skip_special else frozenset()
        self._first = not continues
        self._strip = 0 if continues else self._pieces.leading_count
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The characters that `token` completes, often one word, sometimes none.

        Raises:
            InvalidArgument: An id outside the vocabulary.
        """
        if token in self._skipped:
            return ""
        data = self._pieces.piece(token, self._first)
        self._first = False
        while self._strip and data:
            if not data.startswith(self._pieces.leading):
                self._strip = 0
                break
            data = data[len(self._pieces.leading) :]
            self._strip -= 1
        return self._decoder.decode(data)

    def finish(self) -> str:
        """What is left: U+FFFD if the text ends within a character."""
        return self._decoder.decode(b"", True)


class StopStrings:
    """Finds the first of several strings in a text that comes in parts; constant time per character.

    An Aho-Corasick automaton (Aho and Corasick 1975) over the stops. A text ends where the first stop is complete; if
    several end there, at the start of the longest. Text that may yet turn out to be a stop is held back, no more.
    """

    def __init__(self, stops: Sequence[str], include: bool = False) -> None:
        """
        Args:
            stops: Strings that end the text.
            include: The stop itself belongs to the text.

        Raises:
            InvalidArgument: An empty stop, or too many or too long ones.
        """
        if len(stops) > MAX_STOPS or any(len(stop) > MAX_STOP_LENGTH for stop in stops):
            raise InvalidArgument(f"at most {MAX_STOPS} stop strings of {MAX_STOP_LENGTH} characters each")
        if not all(stops):
            raise InvalidArgument("a stop string is empty")
        self._include = include
        self._next: list[dict[str, int]] = [{}]
        self._depth = [0]
        self._fail = [0]
        self._found: list[str | None] = [None]
        self._build(stops)
        self._state = 0
        self._held = ""
        self.matched: str | None = None
        self.rest = ""  # what the text that completed a stop had after it

    def push(self, text: str) -> tuple[str, str | None]:
        """Takes more text; returns what may be shown, and the stop if it was found, after which text is ignored."""
        if self.matched is not None:
            return "", self.matched
        if len(self._depth) == 1:
            return text, None
        start = len(self._held)
        whole = self._held + text
        for at in range(start, len(whole)):
            self._state = self._step(self._state, whole[at])
            if (stop := self._found[self._state]) is not None:
                self.matched, self._held, self.rest = stop, "", whole[at + 1 :]
                return whole[: at + 1 if self._include else at + 1 - len(stop)], stop
        shown = len(whole) - self._depth[self._state]
        self._held = whole[shown:]
        return whole[:shown], None

    @property
    def idle(self) -> bool:
        """Nothing is held back, and nothing was found."""
        return self._state == 0 and self.matched is None

    def finish(self) -> str:
        """What was held back and turned out to be no stop."""
        held, self._held, self._state = self._held, "", 0
        return held

    def _step(self, state: int, char: str) -> int:
        while (target := self._next[state].get(char)) is None:
            if state == 0:
                return 0
            state = self._fail[state]
        return target

    def _build(self, stops: Sequence[str]) -> None:
        for stop in stops:
            state = 0
            for char in stop:
                if char not in self._next[state]:
                    self._next[state][char] = len(self._next)
                    self._next.append({})
                    self._depth.append(self._depth[state] + 1)
                    self._fail.append(0)
                    self._found.append(None)
                state = self._next[state][char]
            self._found[state] = stop
        queue = deque(self._next[0].values())
        while queue:
            state = queue.popleft()
            for char, target in self._next[state].items():
                self._fail[target] = self._step(self._fail[state], char)
                self._found[target] = self._found[target] or self._found[self._fail[target]]
                queue.append(target)
