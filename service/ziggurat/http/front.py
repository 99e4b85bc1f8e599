"""What happens to every request first and last: its id, its log line, and the catching of what nobody caught."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from typing import TYPE_CHECKING, Any

from ziggurat.http import shapes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from structlog.typing import FilteringBoundLogger

    from ziggurat.http.infer import Infer

_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class Front:
    """Stands before the whole application. `scope["ziggurat.request_id"]` carries the id to whoever logs.

    The hot route goes past the application's stack of middleware and route table, which takes as long as a small model.
    """

    def __init__(self, app: ASGIApp, infer: Infer, logger: FilteringBoundLogger, log_all: bool) -> None:
        self.app = app
        self._infer = infer
        self._logger = logger
        self._log_all = log_all
        # Ids that nobody else makes: a random prefix for this process, and a number.
        self._prefix, self._numbers = secrets.token_hex(6).encode(), itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method = scope["method"]
        if method == "HEAD":  # as GET; the protocol leaves the body out
            scope = {**scope, "method": "GET"}
        hot = method == "POST" and scope["path"].endswith("/infer") and scope["path"].startswith("/v2/models/")
        request_id = _request_id(scope["headers"]) or b"%s-%d" % (self._prefix, next(self._numbers))
        scope["ziggurat.request_id"] = request_id
        begin, status = time.monotonic(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        try:
            await (self._infer if hot else self.app)(scope, receive, send_with_id)
        except Exception as error:
            self._logger.exception("request failed", request_id=request_id.decode(), path=scope["path"])
            if status:
                raise  # part of an answer is out: only a broken connection can say that it is not whole
            await send_json(send_with_id, *shapes.problem(scope["path"], error))
        if self._log_all or status >= 400 or status == 0:
            self._log(method, scope, request_id, status or 499, time.monotonic() - begin)

    def quick(self, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> list[bytes | memoryview] | None:
        """A whole successful response, but for its first line, to a request that can be answered at once, or None: then
        it goes the usual way, on which nothing of this try is seen."""
        if self._log_all:
            return None
        answer = self._infer.quick(path, headers, body)
        if answer is None:
            return None
        request_id = _request_id(headers) or b"%s-%d" % (self._prefix, next(self._numbers))
        fields = [b"%s: %s\r\n" % field for field in answer.headers]
        size = sum(map(len, answer.parts))
        return [*fields, b"content-length: %d\r\nx-request-id: %s\r\n\r\n" % (size, request_id), *answer.parts]

    def _log(self, method: str, scope: Scope, request_id: bytes, status: int, seconds: float) -> None:
        fields: dict[str, Any] = {
            "method": method,
            "path": scope["path"],
            "status": status,
            "ms": round(seconds * 1e3, 3),
            "request_id": request_id.decode(),
        }
        if "ziggurat.error" in scope:
            fields["error"] = scope["ziggurat.error"]
        # Whether it is ready is what a probe asks: that it is not yet is an answer, and nobody's error.
        is_answer = status < 500 or (status == 503 and scope["path"].endswith("/ready"))
        log = self._logger.info if is_answer else self._logger.error
        log("request", **fields)


async def send_json(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    kind = (b"content-type", b"application/json")
    await send({"type": "http.response.start", "status": status, "headers": [kind, length, *headers]})
    await send({"type": "http.response.body", "body": body})


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return bytes(value)
    return None
