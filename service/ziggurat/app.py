"""The composition root: the one place that knows every part, and puts engine, serving and HTTP together."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

import ziggurat
from ziggurat.errors import InvalidArgument
from ziggurat.http.api import create_api
from ziggurat.http.protocol import BoundedHttpProtocol
from ziggurat.serving.admission import Admission
from ziggurat.serving.control import Control, Watch
from ziggurat.serving.generation.load import LanguageLoader
from ziggurat.serving.generation.service import LanguageService
from ziggurat.serving.registry import Registry
from ziggurat.serving.repository import Found, scan
from ziggurat.serving.serving import Serving
from ziggurat.telemetry.language import LanguageCollector, LanguageSample
from ziggurat.telemetry.memory import log_defragmentations
from ziggurat.telemetry.metrics import Metrics, ModelSample, StateCollector

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from ziggurat.engine import Model
    from ziggurat.settings import Settings


class Service:
    """One engine, its models and their HTTP face. Two of them in one process do not meet."""

    def __init__(self, settings: Settings, logger: FilteringBoundLogger) -> None:
        self.settings = settings
        self._logger = logger
        self.found = find_models(settings)
        self.engine = ziggurat.Engine(
            threads=settings.engine.threads,
            memory_limit=settings.engine.memory_limit,
            isa=settings.engine.isa,
            purge_after=settings.engine.purge_after,
            defragment_above=settings.engine.defragment_above,
        )
        repro, tell = settings.repro, lambda text: logger.error(text)
        self._repro = repro.dir and ziggurat.Repro(repro.dir, repro.bundles, repro.limit, background=True, tell=tell)
        self.metrics = Metrics()
        languages = LanguageLoader(settings.language, self.engine, self.metrics.language, logger)
        self.registry = Registry(self._load, logger, languages)
        models = settings.models
        self.control = Control(self.registry, models.path, models.name, models.mode)
        self.serving = Serving(
            self.registry,
            Admission(settings.limits.running or max(2, self.engine.threads), settings.limits.queue),
            ziggurat.CancelToken,
            settings.models.required,
            settings.server.hang,
        )
        self.serving.on_batch = self.metrics.batch
        self.metrics.registry.register(
            StateCollector(self._samples, self.engine.pools, self.engine.memory, self._last_step)
        )
        self.metrics.registry.register(LanguageCollector(self._language_samples))
        self.api = create_api(settings, self.serving, self.control, self.metrics, logger)

    def start_loading(self) -> None:
        """Returns at once; the models' states tell how far it is."""
        self.registry.start(self.found, self.settings.models.load_threads)

    async def follow(self) -> None:
        """Does what the control mode asks for, and tells what the engine does by itself, until cancelled."""
        watching = log_defragmentations(self.engine, self._logger)
        if self.settings.models.mode != "poll":
            return await watching
        await asyncio.gather(Watch(self.control).run(self.settings.models.poll_interval, self._logger), watching)

    def _load(self, found: Found) -> Model:
        config, device = found.config, self.settings.engine.device
        device = config.device or device
        return ziggurat.load(found.path, device, config.threads, self.engine, repro=self._repro or None)

    async def close(self) -> None:
        await self.serving.close()
        await asyncio.to_thread(self.engine.close)

    def server(self) -> Server:
        limits = self.settings.server
        config = uvicorn.Config(
            self.api,
            http=BoundedHttpProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # who may change the server is who is connected, not who a header names
            timeout_keep_alive=int(limits.keep_alive),
            # The runs are told to stop when the grace is over; a little later whoever still waits is cut off.
            timeout_graceful_shutdown=int(limits.grace) + 3,
        )
        return Server(config, self)

    def _last_step(self) -> float:
        runs = time.time() - (time.monotonic() - self.serving.last_progress)
        return max([runs, *(sample.last_step_at for sample in self._language_samples())])

    def _samples(self) -> Iterator[ModelSample]:
        for entry in self.registry.entries():
            status = entry.status
            fallback = status.fallback_steps if status.model is not None else None
            yield ModelSample(entry.name, entry.version, status.state.value, status.load_seconds or None, fallback)

    def _language_samples(self) -> Iterator[LanguageSample]:
        services = self.serving.languages()
        return (service.sample() for service in services if isinstance(service, LanguageService))


class Server(uvicorn.Server):
    """Stops in order: not ready at once, then no new connections, then the end of the grace."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._grace_timer: asyncio.TimerHandle | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        following = asyncio.ensure_future(self._service.follow())
        try:
            with self.capture_signals():
                await self._serve(sockets)
        finally:
            following.cancel()
            await self._service.close()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Does not raise the signal again at the end, as the base does: a stop that was asked for is a success."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        try:
            for one in signals:
                loop.add_signal_handler(one, self.handle_exit, one, None)
        except (RuntimeError, ValueError):  # not the main thread: whoever runs this there stops it by stop()
            yield
            return
        try:
            yield
        finally:
            for one in signals:
                loop.remove_signal_handler(one)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._service.serving.draining and sig == signal.SIGINT:
            self.should_exit = self.force_exit = True
        delay = self._service.settings.server.drain_delay if sig == signal.SIGTERM else 0.0
        self.stop(delay)

    def stop(self, delay: float = 0.0) -> None:
        """Not ready from now on; new requests are served for `delay` seconds more, accepted ones for the grace."""
        if self._service.serving.draining:
            return
        self._service.serving.draining = True
        loop = asyncio.get_running_loop()
        loop.call_later(delay, setattr, self, "should_exit", True)
        grace = delay + self._service.settings.server.grace
        self._grace_timer = loop.call_later(grace, self._service.serving.cancel_all)


def find_models(settings: Settings) -> list[Found]:
    """Raises InvalidArgument or NotFound where the path or what is required of it cannot be right."""
    path = settings.models.path
    found = scan(Path(path), settings.models.name) if path is not None else []
    missing = set(settings.models.required) - {one.name for one in found}
    if missing:
        raise InvalidArgument(
            f"required models are not there: {_names(missing)}; there are {_names(found_names(found))}"
        )
    return found


def found_names(found: Iterable[Found]) -> set[str]:
    return {one.name for one in found}


def _names(names: Iterable[Any]) -> str:
    return ", ".join(sorted(names)) or "none"


def bind(settings: Settings) -> socket.socket:
    """Listens before anything is loaded, so that a taken port is one clear line and costs nothing."""
    server = settings.server
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((server.host, server.port))
    except OSError as error:
        listener.close()
        raise InvalidArgument(f"cannot listen on {server.host} port {server.port}: {error.strerror}") from None
    return listener
