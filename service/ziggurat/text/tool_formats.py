"""The formats in which published models write tool calls."""

from __future__ import annotations

from collections.abc import Generator
from typing import ClassVar

from ziggurat.text.json_machine import MAX_NAME, CallObject, json_value
from ziggurat.text.tool_parser import END, Machine, ToolParser, short_id, skip_space


class Hermes(ToolParser):
    """`<tool_call>{"name": …, "arguments": {…}}</tool_call>`, several in a row: Hermes, Qwen, SmolLM3."""

    name: ClassVar[str] = "hermes"
    markers: ClassVar[tuple[str, ...]] = ("<tool_call>", "</tool_call>")

    def _run(self) -> Generator[None, str, None]:
        char = yield
        while True:
            found = yield from self._until(list(self.markers), char)
            if found == END:
                break
            char = yield
            if found == "<tool_call>":
                char = yield from self._object([found], char)
            elif not self._after_call:
                self._text(found)  # a closing mark that closes nothing
        while True:
            yield

    def _object(self, raw: list[str], first: str, needs_arguments: bool = False) -> Machine:
        """A call's object after its mark; what is none becomes text again. Returns the next character."""
        char = yield from skip_space(first, raw)
        call = CallObject(self._begin, self._arguments, raw, needs_arguments)
        if char == "{":
            char = yield from call.read(char)
        if not call.begun:
            self._text("".join(raw))
        return char


class Llama3(Hermes):
    """`{"name": …, "parameters": {…}}` as the whole message or after `<|python_tag|>`, several with `;` between."""

    name: ClassVar[str] = "llama3"
    markers: ClassVar[tuple[str, ...]] = ("<|python_tag|>",)

    def _run(self) -> Generator[None, str, None]:
        raw: list[str] = []
        char = yield from skip_space((yield), raw)
        if char == "{":
            char = yield from self._row(raw, char)
        else:
            self._text("".join(raw))
        while char != END:
            found = yield from self._until(list(self.markers), char)
            if found == END:
                break
            char = yield from self._row([found], (yield))
        while True:
            yield

    def _row(self, raw: list[str], first: str) -> Machine:
        """Calls one after the other, with space and semicolons between."""
        char = yield from skip_space(first, raw)
        while char == "{":
            before = self._calls
            char = yield from self._object(raw, char, needs_arguments=True)
            raw = []
            if self._calls == before:
                return char
            char = yield from skip_space(char, raw)
            if char == ";":
                raw.append(char)
                char = yield from skip_space((yield), raw)
        self._text("".join(raw))
        return char


class Mistral(ToolParser):
    """`[TOOL_CALLS][{"name": …, "arguments": {…}}, …]`, and the newer `[TOOL_CALLS]name[ARGS]{…}` for each call."""

    name: ClassVar[str] = "mistral"
    markers: ClassVar[tuple[str, ...]] = ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]")
    make_id = staticmethod(short_id)

    def _run(self) -> Generator[None, str, None]:
        char = yield
        while True:
            found = yield from self._until([self.markers[0]], char)
            if found == END:
                break
            raw = [found]
            char = yield from skip_space((yield), raw)
            if char == "[":
                raw.append(char)
                char = yield from self._array(raw, (yield))
            elif char == "{":
                char = yield from self._one(raw, char)
            else:
                char = yield from self._named(raw, char)
        while True:
            yield

    def _one(self, raw: list[str], first: str) -> Machine:
        call = CallObject(self._begin, self._arguments, raw)
        char = yield from call.read(first)
        if call.begun:
            raw.clear()
        return char

    def _array(self, raw: list[str], first: str) -> Machine:
        """Objects up to the closing bracket; from the first thing that is no call on, it is text."""
        char = yield from skip_space(first, raw)
        while char == "{":
            before = self._calls
            char = yield from self._one(raw, char)
            if self._calls == before:
                break
            char = yield from skip_space(char, raw)
            if char == "]":
                return (yield)
            if char == ",":
                raw.append(char)
                char = yield from skip_space((yield), raw)
        self._text("".join(raw))
        return char

    def _named(self, raw: list[str], first: str) -> Machine:
        """`name[ARGS]{…}` or `name[CALL_ID]id[ARGS]{…}`; some models leave the marks out before the brace."""
        name: list[str] = []
        char, part = first, name
        while char not in (END, "{") and len(raw) <= 2 * MAX_NAME:
            raw.append(char)
            part.append(char)
            if char == "]" and "".join(part).endswith("[ARGS]"):
                del part[-len("[ARGS]") :]
                char = yield from skip_space((yield), raw)
                break
            if char == "]" and part is name and "".join(part).endswith("[CALL_ID]"):
                del part[-len("[CALL_ID]") :]
                part = []
            char = yield
        told = "".join(name).strip()
        if char != "{" or not 0 < len(told) <= MAX_NAME or any(c.isspace() or c in "[]" for c in told):
            self._text("".join(raw))
            return char
        self._begin(told)
        return (yield from json_value(char, self._arguments))


FORMATS: dict[str, type[ToolParser]] = {kind.name: kind for kind in (Mistral, Llama3, Hermes)}
