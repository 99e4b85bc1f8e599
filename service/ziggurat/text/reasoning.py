"""Splits what a model thinks (`<think>…</think>`) from what it says."""

from __future__ import annotations

from ziggurat.errors import NotFound
from ziggurat.text.deltas import Collector, Delta
from ziggurat.text.detokenizer import StopStrings

MARKS = {"think": ("<think>", "</think>"), "mistral": ("[THINK]", "[/THINK]")}


class ReasoningSplitter:
    """One message's text, as it comes. The result does not depend on how the text is cut.

    Thinking is recognised at the beginning of a message only. Space around the marks belongs to neither side.
    """

    def __init__(self, name: str = "think", opened: bool = False) -> None:
        """
        Args:
            name: Whose marks, a key of MARKS.
            opened: The prompt ended with the opening mark, so the text begins within the thoughts.

        Raises:
            NotFound: No such name.
        """
        if name not in MARKS:
            raise NotFound(f"no reasoning format '{name}'; there are {', '.join(MARKS)}")
        self.markers = MARKS[name]  # special tokens among these must stay in the text that is pushed
        self._start, self._end = self.markers
        self._out = Collector()
        self._state = "thinking" if opened else "beginning"
        self._space: list[str] = []  # before anything else
        self._held = ""  # space, or the beginning of a mark
        self._fresh = True  # nothing but space since the last mark
        self._finder = StopStrings([self._end])

    @classmethod
    def for_template(cls, source: str, prompt_end: str = "") -> ReasoningSplitter | None:
        """The splitter for a chat template that knows one of the marks; `prompt_end` tells whether it wrote one."""
        for name, (start, end) in MARKS.items():
            if end in source:
                return cls(name, opened=prompt_end.rstrip().endswith(start))
        return None

    def push(self, text: str) -> list[Delta]:
        if self._state == "beginning":
            text = self._begin(text)
        if self._state == "thinking":
            text = self._think(text)
        if self._state == "saying":
            self._say(text)
        return self._out.take()

    def finish(self) -> list[Delta]:
        if self._state == "beginning":
            self._out.add("content", "".join([*self._space, self._held]))
        elif self._state == "thinking":
            self._reason(self._finder.finish())
        return self._out.take()

    def _begin(self, text: str) -> str:
        """Looks for the opening mark after nothing but space; returns the text from where another state goes on."""
        if not self._held and text.isspace():
            self._space.append(text)
            return ""
        self._held += text
        told = self._held.lstrip()
        if told.startswith(self._start):
            self._state, self._held = "thinking", ""
            return told[len(self._start) :]
        if not self._start.startswith(told):
            whole = "".join([*self._space, self._held])
            self._state, self._fresh, self._held = "saying", False, ""
            return whole
        return ""

    def _think(self, text: str) -> str:
        shown, found = self._finder.push(text)
        self._reason(shown)
        if found is None:
            return ""
        # What was shown and the mark are the first part of what was held and pushed; the rest is said aloud.
        self._state, self._fresh, self._held = "saying", True, ""
        return self._finder.rest

    def _reason(self, text: str) -> None:
        """Thoughts without the space around them."""
        text = self._held + text
        if self._fresh:
            text = text.lstrip()
        told = text.rstrip()
        self._held = text[len(told) :]
        if told:
            self._fresh = False
            self._out.add("reasoning", told)

    def _say(self, text: str) -> None:
        if self._fresh:
            text = text.lstrip()
        if text:
            self._fresh = False
            self._out.add("content", text)
