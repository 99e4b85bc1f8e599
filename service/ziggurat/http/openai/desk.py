"""What every OpenAI route does around its own few lines: read, check, find the model, count, and tell errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import orjson
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from ziggurat.errors import Cancelled, InvalidArgument, NotFound, Overloaded, ZigguratError
from ziggurat.http.bodies import Framing, Presence, decompress, read_body
from ziggurat.http.openai import problems
from ziggurat.http.openai.fields import Body
from ziggurat.http.problems import text_of
from ziggurat.serving.generation.encoder import EncoderService
from ziggurat.serving.generation.service import LanguageService

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from ziggurat.http.problems import Headers
    from ziggurat.serving.entry import Entry, TextService
    from ziggurat.serving.generation.stream import Times
    from ziggurat.serving.serving import Serving
    from ziggurat.settings import LimitSettings
    from ziggurat.telemetry.metrics import Metrics

EARLY = 64 << 10  # bytes of a body that are parsed on the event loop; longer ones go to a thread

Wire = TypeVar("Wire", bound=Body)
Result = TypeVar("Result")
Problem = Callable[[Exception], "tuple[int, Headers, bytes]"]


@dataclass(slots=True)
class Call(Generic[Wire]):
    """One request at work. `ended` is to be called by whoever sends the answer's last byte; `times` are those of its
    stream, once it has one."""

    request: Request
    body: Wire
    entry: Entry
    service: TextService
    began: float
    count: Callable[[int, Exception | None, Times | None], None]
    times: Times | None = None

    def ended(self, status: int, error: Exception | None) -> None:
        self.count(status, error, self.times)

    @property
    def language(self) -> LanguageService:
        """Raises BadField where the model generates nothing."""
        if not isinstance(self.service, LanguageService):
            raise problems.BadField("model", f"model '{self.entry.name}' reads texts and generates none")
        return self.service

    @property
    def encoder(self) -> EncoderService:
        """Raises BadField where the model only generates."""
        if not isinstance(self.service, EncoderService):
            raise problems.BadField("model", f"model '{self.entry.name}' generates text: it gives no vectors or scores")
        return self.service

    async def while_there(self, work: Awaitable[Result]) -> Result:
        """Waits for work that ends when the client leaves."""
        with Presence(self.request.receive) as presence:
            try:
                return await work
            except asyncio.CancelledError:
                if not presence.left:
                    raise
                raise Cancelled("the client left") from None

    def answer(self, document: Any) -> Response:
        spent = str(round((time.monotonic() - self.began) * 1e3))
        response = Response(orjson.dumps(document), 200, {"openai-processing-ms": spent}, "application/json")
        self.ended(200, None)
        return response


Handler = Callable[[Call[Any]], Awaitable[Response]]


class Desk:
    """`protocol` is the label of its requests in the metrics, `problem` how it tells errors."""

    def __init__(
        self,
        serving: Serving,
        metrics: Metrics,
        limits: LimitSettings,
        logger: FilteringBoundLogger,
        protocol: str = "openai",
        problem: Problem = problems.problem,
    ) -> None:
        self.serving = serving
        self.metrics = metrics
        self._limits = limits
        self._logger = logger
        self._protocol = protocol
        self._problem = problem

    def endpoint(self, kind: type[Wire], handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint that reads a body of `kind` and hands it to `handler`."""

        async def answer(request: Request) -> Response:
            began = time.monotonic()
            try:
                body = await self._read(request, kind)
                name = request.path_params.get("name") or getattr(body, "model", None)
                entry = self.find(name, request.path_params.get("version"))
                service = entry.ready_language()
                service.limits.check()
                entry.acquire()
            except Exception as error:
                return self._refuse(request, error)
            self.metrics.inflight.inc()
            call = Call(request, body, entry, service, began, self._counter(entry, began))
            try:
                return await handler(call)
            except Exception as error:
                response = self._refuse(request, error)
                call.ended(response.status_code, error)
                return response
            except asyncio.CancelledError:
                call.ended(499, None)
                raise

        return answer

    def find(self, name: str | None, version: str | None = None) -> Entry:
        """The model of that name; the only language model there is where no name is given."""
        if name is None:
            languages = [entry for entry in self.serving.registry.entries() if entry.kind == "language"]
            names = sorted({entry.name for entry in languages})
            if len(names) != 1:
                known = ", ".join(names) or "none"
                raise problems.BadField("model", f"model: say which of the language models to ask: {known}")
            name = names[0]
        try:
            return self.serving.registry.find(name, version)
        except NotFound as error:
            raise problems.UnknownModel(str(error)) from None

    def languages(self) -> list[Entry]:
        return [entry for entry in self.serving.registry.entries() if entry.status.language is not None]

    async def _read(self, request: Request, kind: type[Wire]) -> Wire:
        framing = Framing(request.scope["headers"])
        framing.check(self._limits.body)
        raw = await read_body(request.receive, self._limits.body, self._limits.timeout or None, framing.length)
        if framing.encoding is None and len(raw) <= EARLY:
            body = _parse(raw, kind)
        else:
            body = await asyncio.to_thread(self._parse_long, raw, framing.encoding, kind)
        if body.model_extra:
            self.metrics.language.ignored(request.scope["path"].rpartition("/")[2], len(body.model_extra))
        return body

    def _parse_long(self, raw: bytes | memoryview, encoding: str | None, kind: type[Wire]) -> Wire:
        return _parse(decompress(raw, encoding, self._limits.body) if encoding else raw, kind)

    def _refuse(self, request: Request, error: Exception) -> Response:
        if isinstance(error, Overloaded):
            self.metrics.rejected.labels("queue_full").inc()
        if not isinstance(error, ZigguratError):
            request_id = request.scope.get("ziggurat.request_id", b"").decode()
            self._logger.exception("request failed", request_id=request_id, exc_info=error)
        request.scope["ziggurat.error"] = text_of(error)
        status, headers, body = self._problem(error)
        if any(name == b"expect" for name, _ in request.scope["headers"]):
            headers.append((b"connection", b"close"))
        named = {key.decode(): value.decode() for key, value in headers}
        return Response(body, status, named, "application/json")

    def _counter(self, entry: Entry, began: float) -> Callable[[int, Exception | None, Times | None], None]:
        told = False

        def ended(status: int, error: Exception | None, times: Times | None) -> None:
            nonlocal told
            if told:
                return
            told = True
            entry.release()
            self.metrics.inflight.dec()
            now = time.monotonic()
            submitted = times.submitted if times is not None else began
            labels = (entry.name, entry.version, self._protocol, status)
            self.metrics.observe(labels, now - began, submitted - began, now - submitted)
            if error is not None and status in (200, 499):
                self.metrics.language.ended_early(entry.name)

        return ended


def _parse(raw: bytes | memoryview, kind: type[Wire]) -> Wire:
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidArgument(f"the body must be a JSON object, got {type(document).__name__}")
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise problems.of_validation(error) from None
    except RecursionError:
        raise InvalidArgument("the body is nested too deeply") from None
