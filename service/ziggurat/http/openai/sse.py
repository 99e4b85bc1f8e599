"""Server-sent events: frames, pings while nothing comes, errors in the middle, and readers that leave or stall."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from starlette.responses import Response

from ziggurat.errors import Cancelled
from ziggurat.http.bodies import Presence
from ziggurat.http.front import send_json
from ziggurat.http.problems import text_of

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from ziggurat.http.problems import Headers
    from ziggurat.serving.generation.stream import Piece, Stream

PING = b": ping\n\n"
PING_SECONDS = 15.0  # well below the idle timeouts of proxies
DONE = b"data: [DONE]\n\n"

HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would gather events otherwise
]


class Writer(Protocol):
    """A protocol's own events."""

    def pieces(self, pieces: Sequence[Piece]) -> Iterable[bytes]: ...
    def end(self) -> Iterable[bytes]: ...
    def error(self, error: Exception) -> Iterable[bytes]: ...
    def problem(self, error: Exception) -> tuple[int, Headers, bytes]: ...


def frame(document: bytes) -> bytes:
    return b"data: %b\n\n" % document


class EventStream(Response):
    """Sends a stream's pieces as events. Its status is that of the first thing that happens: an error before the first
    token is an answer of its own; one after it is an event. `ended` is told the status, and the error if there was one.
    """

    def __init__(
        self, stream: Stream, writer: Writer, began: float, ended: Callable[[int, Exception | None], None]
    ) -> None:
        super().__init__()
        self._stream = stream
        self._writer = writer
        self._began = began
        self._ended = ended
        self._started = False
        self._timer: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, error = 499, None
        self._stream.overflowed = scope.get("ziggurat.abort")
        self._wait_for_ping()
        try:
            with Presence(receive) as presence:
                try:
                    status, error = await self._write(scope, send)
                except asyncio.CancelledError:
                    if not presence.left:
                        raise
                    status, error = 499, Cancelled("the client left")
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._stream.close()
            self._ended(status, error)

    def _wait_for_ping(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PING_SECONDS, self._ping)

    def _ping(self) -> None:
        self._stream.nudge()
        self._wait_for_ping()

    async def _write(self, scope: Scope, send: Send) -> tuple[int, Exception | None]:
        try:
            async for pieces in self._stream:
                await self._events(send, self._writer.pieces(pieces) if pieces else [PING])
        except Exception as error:
            scope["ziggurat.error"] = text_of(error)
            if not self._started:
                status, headers, body = self._writer.problem(error)
                await send_json(send, status, headers, body)
                return status, error
            await self._events(send, self._writer.error(error), last=True)
            return 200, error
        await self._events(send, self._writer.end(), last=True)
        return 200, None

    async def _events(self, send: Send, events: Iterable[bytes], last: bool = False) -> None:
        if not self._started:
            self._started = True
            spent = (b"openai-processing-ms", str(round((time.monotonic() - self._began) * 1e3)).encode())
            await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, spent]})
        body = b"".join(events)
        if body or last:
            await send({"type": "http.response.body", "body": body, "more_body": not last})
