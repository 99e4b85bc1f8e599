"""A proxy that passes everything on unchanged, but for one fault: what the suite must notice."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOPS = ("connection", "keep-alive", "transfer-encoding", "content-length", "host")


@dataclass
class Message:
    """A request on its way in, or an answer on its way out; faults change it in place."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int = 0
    close: bool = False
    memory: dict[str, Any] = field(default_factory=dict)  # what a fault keeps from one exchange to the next


class Fault:
    """Changes requests, answers, or both."""

    def request(self, message: Message) -> None:
        """Called before the request is passed on."""

    def answer(self, message: Message) -> None:
        """Called before the answer goes back; `method` and `path` are the request's."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    fault: Fault
    upstream: str
    memory: dict[str, Any]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def log_message(self, *_: Any) -> None:
        """Nothing: the suite says what was wrong."""

    def _pass_on(self) -> None:
        headers = {key.lower(): value for key, value in self.headers.items() if key.lower() not in HOPS}
        message = Message(self.command, self.path, headers, self._body(), memory=self.server.memory)
        self.server.fault.request(message)
        parts = urlsplit(self.server.upstream)
        upstream = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=60)
        try:
            upstream.request(message.method, message.path, message.body, message.headers)
            reply = upstream.getresponse()
            message.status, message.body = reply.status, reply.read()
            message.headers = {key.lower(): value for key, value in reply.getheaders() if key.lower() not in HOPS}
        finally:
            upstream.close()
        self.server.fault.answer(message)
        self._reply(message)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _reply(self, message: Message) -> None:
        self.send_response_only(message.status)
        for key, value in message.headers.items():
            self.send_header(key, value)
        self.send_header("content-length", str(len(message.body)))
        if message.close:
            self.send_header("connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(message.body)


@contextmanager
def proxy(upstream: str, fault: Fault) -> Iterator[str]:
    """The URL of a proxy before `upstream` that has this fault."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.fault, server.upstream, server.memory = fault, upstream, {}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
