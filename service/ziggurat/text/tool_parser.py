"""Tool calls in what a model writes, found while it comes.

A parser reads one character after the other and never looks back further than what it holds, so what it finds cannot
depend on how the text was cut: streaming and parsing at once are the same by construction.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Generator
from typing import ClassVar

from ziggurat.errors import NotFound
from ziggurat.text.deltas import CallDelta, Collector, Delta
from ziggurat.text.detokenizer import StopStrings

END = ""  # what a machine is sent instead of a character when the text is over
Machine = Generator[None, str, str]  # is sent characters; returns the first that it does not understand


def call_id() -> str:
    return f"call_{secrets.token_hex(12)}"


def short_id() -> str:
    """Nine letters and digits, as Mistral's templates demand."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(9))


class ToolParser:
    """One message's text, as it comes. Formats are subclasses; see tool_formats.

    What is no complete call head (a name, and where arguments begin) is text. Space next to a call is dropped. A call
    whose text ends early keeps the arguments that came.
    """

    name: ClassVar[str]
    # Special tokens among these must stay in the text that is pushed. Those that `_until` looks for begin alike.
    markers: ClassVar[tuple[str, ...]]
    make_id: Callable[[], str] = staticmethod(call_id)

    def __init__(self, make_id: Callable[[], str] | None = None) -> None:
        self._make_id = make_id or type(self).make_id
        self._out = Collector()
        self._calls = 0
        self._space: list[str] = []  # at the end of the text so far; dropped if a call follows
        self._after_call = False  # nothing but space since a call
        self._finder: StopStrings | None = None  # while the machine reads plain text
        self._machine = self._run()
        next(self._machine)

    @staticmethod
    def named(name: str, make_id: Callable[[], str] | None = None) -> ToolParser:
        """A parser by format: hermes, llama3 or mistral.

        Raises:
            NotFound: No such format.
        """
        from ziggurat.text.tool_formats import FORMATS

        if name not in FORMATS:
            raise NotFound(f"no tool call format '{name}'; there are {', '.join(FORMATS)}")
        return FORMATS[name](make_id)

    @staticmethod
    def for_template(source: str, make_id: Callable[[], str] | None = None) -> ToolParser | None:
        """The parser for the format that a chat template writes calls in; None where it writes none of them."""
        from ziggurat.text.tool_formats import FORMATS

        for kind in FORMATS.values():
            if any(marker in source for marker in kind.markers):
                return kind(make_id)
        return None

    def push(self, text: str) -> list[Delta]:
        """More text; returns what it adds to the message."""
        at = 0
        while at < len(text):
            if self._finder is not None and self._finder.idle:
                # Within plain text nothing can happen before the first letter of a mark.
                found = text.find(self.markers[0][0], at)
                stop = len(text) if found < 0 else found
                if stop > at:
                    self._text(text[at:stop])
                    at = stop
                    continue
            self._machine.send(text[at])
            at += 1
        return self._out.take()

    def finish(self) -> list[Delta]:
        """The text is over; returns what was held back."""
        self._machine.send(END)
        if not self._after_call and self._space:
            self._out.add("content", "".join(self._space))
            self._space.clear()
        return self._out.take()

    def _run(self) -> Generator[None, str, None]:
        """The format: reads all text, calls `_text`, `_begin` and `_arguments`, and takes END any number of times."""
        raise NotImplementedError

    def _text(self, text: str) -> None:
        if self._after_call:
            text = text.lstrip()
            if not text:
                return
            self._after_call = False
        told = text.rstrip()
        if told:
            self._out.add("content", "".join([*self._space, told]))
            self._space.clear()
        if len(told) < len(text):
            self._space.append(text[len(told) :])

    def _begin(self, name: str) -> None:
        self._space.clear()
        self._after_call = True
        self._out.begin_call(CallDelta(self._calls, self._make_id(), name))
        self._calls += 1

    def _arguments(self, text: str) -> None:
        self._out.add(self._calls - 1, text)

    def _until(self, markers: list[str], first: str) -> Generator[None, str, str]:
        """Text up to one of `markers`, which is returned; END where there is none."""
        finder = self._finder = StopStrings(markers)
        char = first
        while char != END:
            shown, found = finder.push(char)
            self._text(shown)
            if found is not None:
                self._finder = None
                return found
            char = yield
        self._finder = None
        self._text(finder.finish())
        return END


def skip_space(first: str, raw: list[str]) -> Machine:
    """Space, which goes to `raw`; returns the first character that is none."""
    char = first
    while char != END and char.isspace():
        raw.append(char)
        char = yield
    return char
