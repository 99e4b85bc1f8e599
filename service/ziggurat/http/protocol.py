"""uvicorn's HTTP protocol with the limits it leaves to a proxy, and a short way for small requests to quick models.

A request's head may be neither endless nor slow. And an inference request that has arrived whole, by one read, to a
model that answers within the event loop's patience, is answered at once: no task, no scope, no messages. Whatever is
special about it (an error, a client that wants something else, a slow model) takes the usual way through the
application.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ziggurat.http.problems import body as problem_body

HEAD_BYTES = 64 << 10
HEAD_SECONDS = 30.0  # from connecting, or from a request's first byte, to the end of its head
QUICK_BYTES = 64 << 10  # of a body
QUICK_BURST = 4  # requests of one read that are answered at once; the others let the event loop look around


class BoundedHttpProtocol(HttpToolsProtocol):
    _head_bytes = 0
    _in_head = False
    _head_timer: asyncio.TimerHandle | None = None
    _held: bytearray | None = None  # the body of a request that may be answered at once; None: there is none
    _burst = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._in_head, self._head_bytes = True, 0
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._burst = 0
        super().data_received(data)
        if self._held is not None:  # the rest of the body is still on its way
            self._usual_way()
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response(f"the request's head has more than {HEAD_BYTES} bytes, which is the limit")
            elif self._head_timer is None:
                self._start_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        # For an answer that its reader does not take.
        cast("dict[str, Any]", self.scope)["ziggurat.abort"] = self.transport.abort
        self._end_head()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._end_head()
        if self._may_be_quick():
            self._held = bytearray()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._held is None:
            super().on_body(body)
        else:
            self._held += body

    def on_message_complete(self) -> None:
        if self._held is not None:
            answer = self.app.quick(self.url.decode("latin-1"), self.headers, bytes(self._held))
            if answer is not None:
                self._held = None
                self._burst += 1
                self._reply(answer)
                return
            self._usual_way()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """In the shape of every other error; the connection is closed, as nothing after this can be trusted."""
        text = problem_body(msg)
        fields = [*self.server_state.default_headers, (b"content-type", b"application/json"), (b"connection", b"close")]
        head = b"".join(b"%s: %s\r\n" % field for field in [*fields, (b"content-length", b"%d" % len(text))])
        self.transport.write(STATUS_LINE[400] + head + b"\r\n" + text)
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Asking for a WebSocket is no event: the request is answered as the plain one that it also is."""

    def _may_be_quick(self) -> bool:
        parser, cycle = self.parser, self.cycle
        return (
            self.url.endswith(b"/infer")
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and b"%" not in self.url
            and (cycle is None or cycle.response_complete)
            and not self.pipeline
            and not self.flow.write_paused
            and not self.transport.is_closing()
            and self._burst < QUICK_BURST
            and any(name == b"content-length" and _is_small(value) for name, value in self.headers)
        )

    def _usual_way(self) -> None:
        """What was held back goes to the application after all."""
        held, self._held = self._held, None
        super().on_headers_complete()
        if held:
            super().on_body(bytes(held))

    def _reply(self, parts: list[bytes | memoryview]) -> None:
        fields = b"".join(b"%s: %s\r\n" % field for field in self.server_state.default_headers)
        self.transport.write(b"".join((STATUS_LINE[200], fields, *parts)))
        self.server_state.total_requests += 1
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _end_head(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


def _is_small(length: bytes) -> bool:
    return len(length) < 6 and int(length) <= QUICK_BYTES
