"""What a model's output is made of, in the parts in which it comes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A part of a tool call.

    Attributes:
        index: Which call of the message.
        id, name: Set in the first part of a call only.
        arguments: What is new of the JSON text.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """A part of a message: text, reasoning or a call, one of them."""

    content: str = ""
    reasoning: str = ""
    call: CallDelta | None = None


@dataclass(slots=True)
class ToolCall:
    id: str
    name: str
    arguments: str = ""


@dataclass(slots=True)
class AssistantMessage:
    """Deltas put together."""

    content: str = ""
    reasoning: str = ""
    calls: list[ToolCall] = field(default_factory=list)

    @classmethod
    def of(cls, deltas: Iterable[Delta]) -> AssistantMessage:
        made = cls()
        for delta in deltas:
            made.content += delta.content
            made.reasoning += delta.reasoning
            if (call := delta.call) is not None:
                if call.name is not None:
                    made.calls.append(ToolCall(call.id or "", call.name))
                made.calls[call.index].arguments += call.arguments
        return made


class Collector:
    """Gathers deltas, joining neighbours that belong together, until they are taken."""

    def __init__(self) -> None:
        self._kind: object = None
        self._texts: list[str] = []
        self._done: list[Delta] = []

    def add(self, kind: str | int, text: str) -> None:
        """`kind`: "content", "reasoning", or the index of the call whose arguments go on."""
        if kind != self._kind:
            self._close()
            self._kind = kind
        self._texts.append(text)

    def begin_call(self, delta: CallDelta) -> None:
        self._close()
        self._done.append(Delta(call=delta))

    def take(self) -> list[Delta]:
        self._close()
        done, self._done = self._done, []
        return done

    def _close(self) -> None:
        text, self._texts = "".join(self._texts), []
        kind, self._kind = self._kind, None
        if not text:
            return
        if isinstance(kind, int):
            self._done.append(Delta(call=CallDelta(kind, arguments=text)))
        elif kind == "reasoning":
            self._done.append(Delta(reasoning=text))
        else:
            self._done.append(Delta(content=text))
