"""The hot route, POST /v2/models/{name}[/versions/{version}]/infer, as a plain ASGI endpoint.

A request is refused as early as possible: unknown model, unfit headers and a full queue before its body is read,
and its tensors are decoded only under a permit, on the thread that then computes and encodes the answer.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ziggurat.errors import Cancelled, NotFound, Overloaded, Unavailable, ZigguratError
from ziggurat.http import v2_feeds, v2_request, v2_response
from ziggurat.http.bodies import Framing, Presence, decompress, read_body
from ziggurat.http.problems import Headers, problem

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send
    from structlog.typing import FilteringBoundLogger

    from ziggurat.serving.registry import Entry
    from ziggurat.serving.serving import Done, Serving, Turn
    from ziggurat.settings import LimitSettings
    from ziggurat.telemetry.metrics import Metrics

# Up to this many bytes of JSON are read before a request queues, so that its own timeout holds in the queue too.
# Longer ones (tensors as JSON) grow tenfold as Python objects: those wait as bytes, under the server's timeout.
EARLY_JSON = 64 << 10
JOIN = 64 << 10  # parts up to here are joined into one write; above, a copy costs more than a system call


@dataclass(slots=True)
class Answer:
    status: int
    headers: Headers
    parts: list[v2_response.Part]
    queue_seconds: float = 0.0
    compute_seconds: float = 0.0
    error: Exception | None = field(default=None)

    @classmethod
    def of_error(cls, error: Exception, done: Done[v2_response.Body] | None = None) -> Answer:
        status, headers, body = problem(error)
        answer = cls(status, [(b"content-type", b"application/json"), *headers], [body], error=error)
        if done is not None:
            answer.queue_seconds, answer.compute_seconds = done.queue_seconds, done.compute_seconds
        return answer


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
        labels = (entry.name, entry.version, "v2", answer.status)
        self._metrics.observe(labels, time.monotonic() - begin, answer.queue_seconds, answer.compute_seconds)

    async def _answer(self, entry: Entry, scope: Scope, receive: Receive, begin: float) -> Answer:
        done: Done[v2_response.Body] | None = None
        try:
            framing = Framing(scope["headers"])
            framing.check(self._limits.body)
            entry.ready_model()
            self._serving.admission.check()
            body = await read_body(receive, self._limits.body, self._limits.timeout or None)
            done = await self._compute(entry, body, framing, receive, begin)
            return _success(done.get(), done)
        except ZigguratError as error:
            if isinstance(error, Overloaded):
                self._metrics.rejected.labels("queue_full").inc()
            return Answer.of_error(error, done)
        except Exception as error:
            request_id = scope.get("ziggurat.request_id", b"").decode()
            self._logger.exception("inference failed", model=entry.name, request_id=request_id)
            return Answer.of_error(error, done)

    async def _compute(
        self, entry: Entry, body: bytes, framing: Framing, receive: Receive, begin: float
    ) -> Done[v2_response.Body]:
        early = len(body) if framing.header_length is None else framing.header_length
        late = early > EARLY_JSON or framing.encoding is not None
        request = None if late else v2_request.parse(body, framing.header_length)
        deadline = self._deadline(request, begin)

        def job(turn: Turn) -> v2_response.Body:
            parsed = request
            if parsed is None:
                parsed = self._parse(body, framing)
                turn.deadline = self._deadline(parsed, begin)
            v2_feeds.check_outputs(parsed.outputs, turn.model.outputs)
            feeds = v2_feeds.feeds(parsed, turn.model.inputs)
            arrays = turn.run(feeds, [output.name for output in parsed.outputs] or None)
            return v2_response.encode(parsed, entry.name, entry.version, arrays)

        if not late and len(body) <= EARLY_JSON and (here := self._serving.run_here(entry, job, deadline)):
            return here
        with Presence(receive) as presence:
            try:
                done = await self._serving.run(entry, job, deadline)
            except asyncio.CancelledError:
                if not presence.left:
                    raise
                raise Cancelled("the client left") from None
        if isinstance(done.error, Cancelled):  # nobody left, so it was the server that ended the run
            done.error = Unavailable("the server is stopping")
        return done

    def _parse(self, body: bytes, framing: Framing) -> v2_request.Request:
        plain = decompress(body, framing.encoding, self._limits.body) if framing.encoding else body
        return v2_request.parse(plain, framing.header_length)

    def _deadline(self, request: v2_request.Request | None, begin: float) -> float | None:
        seconds = (request.timeout if request is not None else None) or self._limits.timeout
        return begin + seconds if seconds else None


def _success(body: v2_response.Body, done: Done[v2_response.Body]) -> Answer:
    headers: Headers = [(b"content-type", b"application/json")]
    if body.header_length is not None:
        headers = [
            (b"content-type", b"application/octet-stream"),
            (b"inference-header-content-length", str(body.header_length).encode()),
        ]
    return Answer(200, headers, body.parts, done.queue_seconds, done.compute_seconds)


async def _send(scope: Scope, send: Send, answer: Answer) -> None:
    if answer.error is not None:
        scope["ziggurat.error"] = str(answer.error)
        # A client that waits for "100 Continue" sends no body after a refusal, so what follows could not be told apart.
        if any(name == b"expect" for name, _ in scope["headers"]):
            answer.headers.append((b"connection", b"close"))
    size = sum(len(part) for part in answer.parts)
    headers = [*answer.headers, (b"content-length", str(size).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    parts = answer.parts if size > JOIN else [b"".join(answer.parts)]
    for index, part in enumerate(parts):
        await send({"type": "http.response.body", "body": part, "more_body": index + 1 < len(parts)})
