"""Requests and events as bytes, for what a client library would not send or would not show."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

from tests.http.support import Raw, Reply

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"


def post(raw: Raw, path: str, body: Any, **headers: str) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return raw.request("POST", path, data, content_type="application/json", **headers)


def problem(reply: Reply) -> dict[str, Any]:
    """The error of an OpenAI answer, whose four keys must be there."""
    document = reply.json()
    assert list(document) == ["error"], document
    error = dict(document["error"])
    assert {"message", "type", "param", "code"} <= set(error)
    assert isinstance(error["message"], str) and isinstance(error["type"], str)
    return error


class Events:
    """One streamed answer on a connection of its own."""

    def __init__(self, port: int, path: str, body: Any, buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", port))
        data = json.dumps(body).encode()
        fields = f"host: test\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n"
        head = f"POST {path} HTTP/1.1\r\n{fields}\r\n"
        self.socket.sendall(head.encode() + data)
        self._file = self.socket.makefile("rb")
        self.status = 0
        self.headers: dict[str, str] = {}

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def reset(self) -> None:
        """Ends the connection as a process that is killed does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def start(self) -> None:
        self.status = int(self._file.readline().split()[1])
        while line := self._file.readline().strip():
            name, _, text = line.decode().partition(":")
            self.headers[name.lower()] = text.strip()

    def chunks(self) -> Iterator[bytes]:
        """The chunks of the body as they were sent."""
        if not self.status:
            self.start()
        while size := int(self._file.readline(), 16):
            yield self._file.read(size)
            self._file.readline()
        self._file.readline()

    def frames(self) -> Iterator[str]:
        """Events, each without the empty line that ends it."""
        rest = b""
        for chunk in self.chunks():
            *whole, rest = (rest + chunk).split(b"\n\n")
            yield from (one.decode() for one in whole)
        assert rest == b"", "the stream ended within an event"

    def documents(self) -> list[Any]:
        """Every event as JSON; the last must be [DONE], which is left out."""
        frames = list(self.frames())
        assert frames[-1] == "data: [DONE]", frames[-3:]
        assert all(frame.startswith("data: ") and "\n" not in frame for frame in frames), frames
        return [json.loads(frame[6:]) for frame in frames[:-1]]


def settled(server: Any, name: str) -> bool:
    """Whether nothing of any request is left in the server's language model."""
    service = server.service.registry.find(name).status.language
    stats = service.language.generator.stats()
    used = stats["kv_blocks_used"]
    return (
        stats["running"] == stats["waiting"] == used == 0
        and not service._streams
        and not service._running
        and service.limits.taken.sequences == service.limits.taken.tokens == 0
    )
