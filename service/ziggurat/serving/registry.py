"""Every known model version by name. Loads have threads of their own, so that health is answered meanwhile."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING

from ziggurat.errors import InvalidArgument, NotFound, Unsupported, ZigguratError
from ziggurat.serving.entry import UNKNOWN_SECONDS, Entry, State, Status
from ziggurat.serving.model_config import LanguageConfig
from ziggurat.serving.repository import Found, version_key

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from ziggurat.engine import Model
    from ziggurat.serving.entry import TextService

__all__ = ["UNKNOWN_SECONDS", "Entry", "Registry", "State", "Status"]

UNLOADED = "unloaded"


class Registry:
    """Finds entries by name and version, and loads them: each on its own, so that a bad model harms no other.

    All methods belong to one event loop, or to the time before it runs; the maps are replaced, never changed, so that
    other threads may read them.
    """

    def __init__(
        self,
        load: Callable[[Found], Model],
        logger: FilteringBoundLogger,
        load_language: Callable[[Entry], TextService] | None = None,
    ) -> None:
        self._load = load
        self._load_language = load_language
        self._logger = logger
        self._models: dict[str, dict[str, Entry]] = {}
        self._aliases: dict[str, str] = {}
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._threads = 0
        self._active = 0  # jobs that a thread is at
        self._first: list[Entry] = []
        self._loading: dict[Entry, Future[Status]] = {}
        self._closed = False
        self._lock = threading.Lock()  # orders the publishing of a loaded model against close()

    def start(self, found: Iterable[Found], threads: int) -> None:
        """Registers the models as LOADING and returns at once."""
        self._threads = threads
        models: dict[str, dict[str, Entry]] = {}
        entries = self._first = [Entry(one) for one in found]
        for entry in entries:
            models.setdefault(entry.name, {})[entry.version] = entry
        self._set(models)
        for entry in entries:
            if entry.status.state is State.LOADING:
                self._begin(entry)
            else:
                self._tell_failure(entry, entry.status)
        for index in range(threads):
            # Daemons: a load that takes minutes must not hold up the end of the process.
            threading.Thread(target=self._work, name=f"load-{index}", daemon=True).start()

    def busy(self) -> bool:
        """Whether a thread is still loading or closing a model."""
        return self._active > 0

    def starting(self) -> bool:
        """Whether something that was there at the start is still to be tried."""
        return any(entry.status.state is State.LOADING for entry in self._first)

    def entries(self) -> list[Entry]:
        return [entry for versions in self._models.values() for entry in versions.values()]

    def names(self) -> list[str]:
        return list(self._models)

    def canonical(self, name: str) -> str:
        """A model's own name, where `name` is an alias of one that is known; else `name`."""
        return name if name in self._models else self._aliases.get(name, name)

    def versions(self, name: str) -> dict[str, Entry]:
        """The versions of a model in their order; raises NotFound for a name that is not known."""
        versions = self._versions(name)
        if versions is None:
            raise NotFound(f"unknown model '{name}'")
        return dict(sorted(versions.items(), key=lambda item: version_key(item[0])))

    def find(self, name: str, version: str | None = None) -> Entry:
        """The named version; else the highest that is ready, else the highest. Raises NotFound for unknown ones."""
        known = self._versions(name)
        if known is not None and version is None and len(known) == 1:
            return next(iter(known.values()))
        versions = self.versions(name)
        if version is not None:
            if version not in versions:
                raise NotFound(f"model '{name}' has no version '{version}', only {', '.join(versions)}")
            return versions[version]
        ready = [entry for entry in versions.values() if entry.status.state is State.READY]
        return (ready or list(versions.values()))[-1]

    async def load(self, found: Sequence[Found]) -> list[Entry]:
        """Loads versions; where one serves already, it goes on until the new one is ready, and stays if that fails.

        Returns the new entries, of which each has the state and the reason that its load ended in.
        """
        await self.settle({one.name for one in found})
        entries = [Entry(one) for one in found]
        for entry in entries:
            old = self._models.get(entry.name, {}).get(entry.version)
            if old is None or old.status.state is not State.READY:
                self._put(entry)
            if entry.status.state is not State.LOADING:
                self._tell_failure(entry, entry.status)
        pending = [self._begin(entry) for entry in entries if entry.status.state is State.LOADING]
        if pending:
            await asyncio.wait([asyncio.wrap_future(one) for one in pending])
        for entry in entries:
            old = self._models.get(entry.name, {}).get(entry.version)
            if old is not entry and entry.status.state is State.READY:
                self._put(entry)
                if old is not None:
                    old.retire(self._close_later, "replaced")
        return entries

    async def settle(self, names: set[str]) -> None:
        """Waits for the loads of these models that are under way."""
        for done in [done for entry, done in list(self._loading.items()) if entry.name in names]:
            await asyncio.wait([asyncio.wrap_future(done)])

    def retire(self, name: str, versions: Iterable[str] | None = None, reason: str = UNLOADED) -> None:
        """Unloads versions of a model, all by default, once their last requests are answered. They stay known."""
        known = self.versions(name)
        for version in list(known) if versions is None else versions:
            known[version].retire(self._close_later, reason)

    def forget(self, name: str, versions: Iterable[str]) -> None:
        """Unloads versions that are no longer there, and no longer knows them."""
        self.retire(name, versions, "removed")
        left = {version: one for version, one in self._models[name].items() if version not in set(versions)}
        models = {key: value for key, value in self._models.items() if key != name}
        self._set({**models, name: left} if left else models)

    def close(self) -> None:
        """Closes every model; a load that is still under way is closed when it ends."""
        with self._lock:
            self._closed = True
            models = [entry.status.loaded for entry in self.entries()]
            for entry in self.entries():
                entry.status = Status(State.UNAVAILABLE, "the server is stopping")
        for _ in range(self._threads):
            self._jobs.put(lambda: None)  # wakes a thread, which then sees that it is over
        for model in models:
            if model is not None:
                model.close()

    def _versions(self, name: str) -> dict[str, Entry] | None:
        return self._models.get(name) or self._models.get(self._aliases.get(name, ""))

    def _put(self, entry: Entry) -> None:
        self._set({**self._models, entry.name: {**self._models.get(entry.name, {}), entry.version: entry}})

    def _set(self, models: dict[str, dict[str, Entry]]) -> None:
        self._models = models
        self._aliases = {alias: one.name for one in self.entries() for alias in one.config.aliases}

    def _begin(self, entry: Entry) -> Future[Status]:
        done: Future[Status] = Future()
        self._loading[entry] = done

        def job() -> None:
            status = self._try_load(entry)
            self._publish(entry, status)
            self._loading.pop(entry, None)
            done.set_result(status)

        self._jobs.put(job)
        return done

    def _work(self) -> None:
        while not self._closed:
            job = self._jobs.get()
            with self._lock:
                self._active += 1
            try:
                job()
            except Exception:  # the next job is not to blame
                self._logger.exception("a model could not be closed")
            finally:
                with self._lock:
                    self._active -= 1

    def _try_load(self, entry: Entry) -> Status:
        begin = time.monotonic()
        log = self._logger.bind(model=entry.name, version=entry.version)
        try:
            loaded = self._load_any(entry)
        except ZigguratError as error:
            failed = Status(State.UNAVAILABLE, str(error), None, time.monotonic() - begin, code=error.code)
            self._tell_failure(entry, failed)
            return failed
        except Exception as error:  # a bug in loading one model must not take the others' thread down
            log.exception("model failed to load")
            return Status(State.UNAVAILABLE, f"internal error: {error!r}", None, time.monotonic() - begin)
        seconds = time.monotonic() - begin
        log.info("model ready", seconds=round(seconds, 3))
        return replace(loaded, load_seconds=seconds)

    def _tell_failure(self, entry: Entry, status: Status) -> None:
        log = self._logger.bind(model=entry.name, version=entry.version)
        log.error("model failed to load", reason=status.reason, code=status.code or InvalidArgument.code)

    def _load_any(self, entry: Entry) -> Status:
        if entry.found.kind == "language":
            if self._load_language is None:
                raise Unsupported("this server has no language models")
            return Status(State.READY, language=self._load_language(entry))
        if entry.config.language != LanguageConfig():
            raise InvalidArgument("model.yaml has `language`, but this is an ONNX model: take it out")
        model = self._load(entry.found)
        return Status(State.READY, "", model, fallback_steps=model.plan().fallback_steps)

    def _publish(self, entry: Entry, status: Status) -> None:
        with self._lock:
            if not self._closed:
                entry.status = status
                return
        if status.loaded is not None:
            status.loaded.close()

    def _close_later(self, entry: Entry, model: Model | TextService) -> None:
        """On a loader's thread: giving gigabytes back takes longer than an event loop has."""

        reason = entry.status.reason
        entry.status = Status(State.UNAVAILABLE, reason)
        entry.batcher = None  # which holds the model too
        self._logger.info("model unloaded", model=entry.name, version=entry.version, reason=reason)
        self._jobs.put(model.close)
