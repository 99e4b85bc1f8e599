"""The hot route, POST /v2/models/{name}[/versions/{version}]/infer, as a plain ASGI endpoint.

A request is refused as early as possible: unknown model, unfit headers and a full queue before its body is read,
and its tensors are decoded only under a permit, on the thread that then computes and encodes the answer.
"""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ziggurat.errors import Cancelled, NotFound, Overloaded, Unavailable, ZigguratError
from ziggurat.http.bodies import Framing, Presence, read_body
from ziggurat.http.problems import Headers, problem, text_of
from ziggurat.http.v2_work import V2Work
from ziggurat.serving.serving import QUICK_SECONDS

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send
    from structlog.typing import FilteringBoundLogger

    from ziggurat.http.v2_response import Body, Part
    from ziggurat.serving.registry import Entry
    from ziggurat.serving.serving import Done, Serving
    from ziggurat.settings import LimitSettings
    from ziggurat.telemetry.metrics import Metrics

JOIN = 64 << 10  # parts up to here are joined into one write; above, a copy costs more than a system call
WRITE = 256 << 10  # bytes that the event loop writes at a time: about 0.1 ms of the kernel's copying
COMPRESS = 512  # bytes of an answer below which compressing gains nothing


@dataclass(slots=True)
class Answer:
    status: int
    headers: Headers
    parts: list[Part]
    done: Done[Body] | None = None
    error: Exception | None = field(default=None)

    @classmethod
    def of_error(cls, error: Exception, done: Done[Body] | None = None) -> Answer:
        status, headers, body = problem(error)
        return cls(status, [(b"content-type", b"application/json"), *headers], [body], done, error)


_PATH = re.compile(r"/v2/models/(.+?)(?:/versions/([^/]+))?/infer")


class Infer:
    def __init__(self, serving: Serving, metrics: Metrics, limits: LimitSettings, logger: FilteringBoundLogger) -> None:
        self._serving = serving
        self._metrics = metrics
        self._limits = limits
        self._logger = logger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin = time.monotonic()
        found = _PATH.fullmatch(scope["path"])
        try:
            entry = self._serving.registry.find(*(found.groups() if found else (scope["path"],)))
        except NotFound as error:  # no series for names that clients make up
            await _send(scope, send, Answer.of_error(error))
            return
        self._metrics.inflight.inc()
        try:
            answer = await self._answer(entry, scope, receive, begin)
            await _send(scope, send, answer)
        finally:
            self._metrics.inflight.dec()
        self._observe(entry, answer, time.monotonic() - begin)

    def quick(self, path: str, headers: Headers, body: bytes) -> Answer | None:
        """The answer to a small request for a quick model, computed at once; None: ask in the usual way."""
        begin = time.monotonic()
        found = _PATH.fullmatch(path)
        try:
            entry = self._serving.registry.find(*(found.groups() if found else (path,)))
            framing = Framing(headers)
            if entry.seconds > QUICK_SECONDS or framing.accept is not None:
                return None
            work = V2Work(entry, body, framing, self._limits, begin)
            done = self._serving.infer_here(entry, work) if work.light else None
        except ZigguratError:
            return None
        if done is None or done.error is not None:
            return None
        answer = _success(done.get(), done)
        self._observe(entry, answer, time.monotonic() - begin)
        return answer

    def _observe(self, entry: Entry, answer: Answer, seconds: float) -> None:
        done, statistics = answer.done, entry.statistics
        queue, compute = (done.queue_seconds, done.compute_seconds) if done is not None else (0.0, 0.0)
        self._metrics.observe((entry.name, entry.version, "v2", answer.status), seconds, queue, compute)
        if done is not None and answer.error is None:
            statistics.succeeded(seconds, done)
        else:
            statistics.failed(seconds, isinstance(answer.error, Cancelled))

    async def _answer(self, entry: Entry, scope: Scope, receive: Receive, begin: float) -> Answer:
        done: Done[Body] | None = None
        try:
            framing = Framing(scope["headers"])
            framing.check(self._limits.body)
            entry.ready_model()
            self._serving.admission.check()
            body = await read_body(receive, self._limits.body, self._limits.timeout or None, framing.length)
            work = V2Work(entry, body, framing, self._limits, begin)
            del body  # `work` lets go of it when it is read
            done = await self._compute(entry, work, receive)
            answer = _success(done.get(), done)
            return answer if framing.accept is None else await _compressed(answer, framing.accept)
        except ZigguratError as error:
            if isinstance(error, Overloaded):
                self._metrics.rejected.labels("queue_full").inc()
            return Answer.of_error(error, done)
        except Exception as error:
            request_id = scope.get("ziggurat.request_id", b"").decode()
            self._logger.exception("inference failed", model=entry.name, request_id=request_id)
            return Answer.of_error(error, done)

    async def _compute(self, entry: Entry, work: V2Work, receive: Receive) -> Done[Body]:
        if work.small and (here := self._serving.infer_here(entry, work)):
            return here
        with Presence(receive) as presence:
            try:
                done = await self._serving.infer(entry, work)
            except asyncio.CancelledError:
                if not presence.left:
                    raise
                raise Cancelled("the client left") from None
        if isinstance(done.error, Cancelled):  # nobody left, so it was the server that ended the run
            done.error = Unavailable("the server is stopping")
        return done


def _success(body: Body, done: Done[Body]) -> Answer:
    headers: Headers = [(b"content-type", b"application/json")]
    if body.header_length is not None:
        headers = [
            (b"content-type", b"application/octet-stream"),
            (b"inference-header-content-length", b"%d" % body.header_length),
        ]
    queue, read = 1e3 * done.queue_seconds, 1e3 * done.input_seconds
    compute, write = 1e3 * done.compute_seconds, 1e3 * done.output_seconds
    timing = f"queue;dur={queue:.3f}, input;dur={read:.3f}, compute;dur={compute:.3f}, output;dur={write:.3f}"
    headers.append((b"server-timing", timing.encode()))
    return Answer(200, headers, body.parts, done)


async def _compressed(answer: Answer, encoding: str) -> Answer:
    """The answer as the client asked to have it; what is small stays as it is."""
    if sum(len(part) for part in answer.parts) >= COMPRESS:
        answer.parts = [await asyncio.to_thread(_compress, answer.parts, encoding)]
        answer.headers += [(b"content-encoding", encoding.encode()), (b"vary", b"accept-encoding")]
    return answer


def _compress(parts: list[Part], encoding: str) -> bytes:
    machine = zlib.compressobj(level=1, wbits=zlib.MAX_WBITS | (16 if encoding == "gzip" else 0))
    return b"".join([*(machine.compress(part) for part in parts), machine.flush()])


async def _send(scope: Scope, send: Send, answer: Answer) -> None:
    if answer.error is not None:
        scope["ziggurat.error"] = text_of(answer.error)
        # A client that waits for "100 Continue" sends no body after a refusal, so what follows could not be told apart.
        if any(name == b"expect" for name, _ in scope["headers"]):
            answer.headers.append((b"connection", b"close"))
    size = sum(len(part) for part in answer.parts)
    headers = [*answer.headers, (b"content-length", str(size).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if size <= JOIN:
        await send({"type": "http.response.body", "body": b"".join(answer.parts)})
        return
    for part in answer.parts:
        for begin in range(0, len(part), WRITE):
            await send(
                {"type": "http.response.body", "body": memoryview(part)[begin : begin + WRITE], "more_body": True}
            )
            await asyncio.sleep(0)  # a reader that keeps up would keep the event loop, too, until all is written
    await send({"type": "http.response.body"})
