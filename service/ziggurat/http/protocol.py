"""uvicorn's HTTP protocol with the limits it leaves to a proxy: a request's head may be neither endless nor slow."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ziggurat.http.problems import body

HEAD_BYTES = 64 << 10
HEAD_SECONDS = 30.0  # from connecting, or from a request's first byte, to the end of its head


class BoundedHttpProtocol(HttpToolsProtocol):
    _head_bytes = 0
    _in_head = False
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response(f"the request's head has more than {HEAD_BYTES} bytes, which is the limit")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._start_head()

    def on_headers_complete(self) -> None:
        self._end_head()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """In the shape of every other error; the connection is closed, as nothing after this can be trusted."""
        text = body(msg)
        fields = [*self.server_state.default_headers, (b"content-type", b"application/json"), (b"connection", b"close")]
        head = b"".join(b"%s: %s\r\n" % field for field in [*fields, (b"content-length", b"%d" % len(text))])
        self.transport.write(STATUS_LINE[400] + head + b"\r\n" + text)
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Asking for a WebSocket is no event: the request is answered as the plain one that it also is."""

    def _start_head(self) -> None:
        self._end_head()
        self._in_head, self._head_bytes = True, 0
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _end_head(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
