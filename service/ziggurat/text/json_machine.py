"""Machines that read JSON one character at a time, and a call's name and arguments out of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from ziggurat.text.tool_parser import END, Machine, skip_space

MAX_NAME = 256  # characters of a function's name
Tell = Callable[[str], object]


def json_string(tell: Tell) -> Generator[None, str, tuple[str | None, bool]]:
    """The rest of a string whose opening quote was read, its text told as it comes.

    Returns its value (None where it is no text), and whether everything ended before the string did.
    """
    inner: list[str] = []
    escaped = False
    while True:
        char = yield
        if char == END:
            return None, True
        tell(char)
        if char == '"' and not escaped:
            break
        escaped = char == "\\" and not escaped
        inner.append(char)
    try:
        value = str(json.loads(f'"{"".join(inner)}"', strict=False))
        value.encode()  # half a surrogate pair is no text
    except ValueError:
        return None, False
    return value, False


def json_value(first: str, tell: Tell) -> Machine:
    """A value that begins with `first`, its text told as it comes; returns the character after it."""
    if first not in ('"', "{", "["):
        char = first
        while char != END and not char.isspace() and char not in ",}]":
            tell(char)
            char = yield
        return char
    depth, quoted, escaped, char = 0, False, False, first
    while char != END:
        tell(char)
        if quoted:
            quoted = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            quoted = True
        elif char in "{[":
            depth += 1
        elif char in "}]":
            depth -= 1
        if depth == 0 and not quoted:
            return (yield)
        char = yield
    return END


def decoded_string(note: Tell, tell: Tell) -> Machine:
    """The rest of a string whose opening quote was read: its text noted, its value told as it comes."""
    held = ""  # an escape that is not complete
    while True:
        char = yield
        if char == END:
            return END
        note(char)
        if held and not _breaks(held, char):
            held += char
            if _high(held) and len(held) == 8 and char != "u":
                tell("\ufffd")  # the first half of a pair without the second
                held = held[6:]
            if _whole(held):
                tell(_unescaped(held))
                held = ""
            continue
        if held:
            tell("\ufffd" if _high(held) and len(held) == 6 else held)
            held = ""
        if char == '"':
            return (yield)
        if char == "\\":
            held = char
        else:
            tell(char)


def _breaks(held: str, char: str) -> bool:
    """Whether an incomplete escape cannot go on with `char`."""
    if _high(held) and len(held) == 6:
        return char != "\\"
    at = 7 if len(held) > 6 else 1  # where the `u` of the escape, or of the pair's second, stands
    return held[at : at + 1] == "u" and char not in "0123456789abcdefABCDEF"


def _high(held: str) -> bool:
    """Whether this escape is the first half of a surrogate pair."""
    return held[1:2] == "u" and held[2:4].lower() in ("d8", "d9", "da", "db") and len(held) >= 6


def _whole(held: str) -> bool:
    if held[1:2] != "u":
        return len(held) == 2
    return len(held) == 12 or (len(held) == 6 and not _high(held))


def _unescaped(held: str) -> str:
    try:
        value = str(json.loads(f'"{held}"'))
    except ValueError:
        return held  # an escape that JSON does not have
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@dataclass
class CallObject:
    """Reads `{"name": …, "arguments": {…}}`, keys in any order, others skipped.

    Attributes:
        begin: Called with the name once it is certain that this is a call.
        tell: Called with parts of the arguments' text, after `begin`.
        raw: What was read before `begin`, to be given back as text if it is no call.
        needs_arguments: Without an object as arguments it is no call.
    """

    begin: Callable[[str], None]
    tell: Callable[[str], None]
    raw: list[str]
    needs_arguments: bool = False
    begun: bool = False
    _name: str | None = None
    _early: list[str] = field(default_factory=list)  # arguments that came before the name
    _seen: bool = False
    _failed: bool = False

    def read(self, first: str) -> Machine:
        """From the opening brace on; returns the first character that does not belong to the object.

        `begun` says afterwards whether it was a call.
        """
        self._note(first)
        char = yield from skip_space((yield), self.raw)
        while char == '"':
            char = yield from self._member(char)
            if self._failed:
                break
            char = yield from skip_space(char, self.raw)
            if char != ",":
                break
            self._note(char)
            char = yield from skip_space((yield), self.raw)
        if char != "}" or self._failed:
            return char
        if not self.begun and self._name is not None and not self.needs_arguments:
            self._start()
            self.tell("{}")
        self._note(char)
        return (yield)

    def _member(self, first: str) -> Machine:
        self._note(first)
        key, ended = yield from json_string(self._note)
        if ended:
            return END
        char = yield from skip_space((yield), self.raw)
        if key is None or char != ":":
            self._failed = True
            return char
        self._note(char)
        char = yield from skip_space((yield), self.raw)
        if key == "name" and self._name is None and char == '"':
            return (yield from self._read_name(char))
        if key in ("arguments", "parameters") and not self._seen and (char == "{" or not self.needs_arguments):
            return (yield from self._read_arguments(char))
        return (yield from json_value(char, self._note))

    def _read_name(self, first: str) -> Machine:
        self._note(first)
        value, ended = yield from json_string(self._note)
        if ended:
            return END
        if value is None or not 0 < len(value) <= MAX_NAME:
            self._failed = True
            return (yield)
        self._name = value
        if self._seen:
            self._start()
        return (yield)

    def _read_arguments(self, first: str) -> Machine:
        if first == END:
            return END
        self._seen = True
        if self._name is not None:
            self._start()
        if first == '"':
            self._note(first)
            return (yield from decoded_string(self._note, self._tell))
        if first == "{":
            return (yield from json_value(first, self._tell_and_note))
        scalar: list[str] = []
        after = yield from json_value(first, scalar.append)
        text = "".join(scalar)
        self._tell("{}" if text == "null" else text)
        self._note(text)
        return after

    def _note(self, text: str) -> None:
        if not self.begun:
            self.raw.append(text)

    def _tell(self, text: str) -> None:
        if self.begun:
            self.tell(text)
        else:
            self._early.append(text)

    def _tell_and_note(self, text: str) -> None:
        self._tell(text)
        self._note(text)

    def _start(self) -> None:
        if not self.begun and self._name is not None:
            self.begun = True
            self.begin(self._name)
            self.tell("".join(self._early))
