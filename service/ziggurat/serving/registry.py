"""Every known model version with its state. Loads have threads of their own, so that health is answered meanwhile."""

from __future__ import annotations

import enum
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ziggurat.errors import InvalidArgument, NotFound, Unavailable, Unsupported, ZigguratError
from ziggurat.serving.repository import Found, version_key

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from ziggurat.engine import Model
    from ziggurat.serving.generation.service import LanguageService


# What a job of a model is taken to last until some twenty of them have shown otherwise.
UNKNOWN_SECONDS = 0.01


class State(enum.Enum):
    LOADING = "LOADING"
    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Status:
    """One moment of an entry; replaced as a whole, so that a reader on another thread never sees half of a change."""

    state: State
    reason: str = ""
    model: Model | None = None
    load_seconds: float = 0.0
    fallback_steps: int = 0
    language: LanguageService | None = None  # instead of `model`, where the entry is a language model


class Entry:
    """One version of one model."""

    def __init__(self, found: Found) -> None:
        self.name = found.name
        self.version = found.version
        self.path = found.path
        self.kind = found.kind
        self.status = Status(State.UNAVAILABLE, found.problem) if found.problem else Status(State.LOADING)
        self.seconds = UNKNOWN_SECONDS

    def took(self, seconds: float) -> None:
        """Moves `seconds` a step towards what a job took: it follows the median, which a hiccup does not move far."""
        self.seconds *= 1.2 if seconds > self.seconds else 0.85

    def ready_model(self) -> Model:
        """Raises Unavailable with the reason where the model is not ready, Unsupported for a language model."""
        status = self.check_ready()
        if status.model is None:
            raise Unsupported(f"'{self.name}' is a language model: ask it by generate or the OpenAI routes")
        return status.model

    def ready_language(self) -> LanguageService:
        """As ready_model, for language models; raises InvalidArgument where this is none."""
        status = self.check_ready()
        if status.language is None:
            raise InvalidArgument(f"'{self.name}' is not a language model: ask it by /v2/models/{self.name}/infer")
        return status.language

    def check_ready(self) -> Status:
        """The status of an entry that can be asked; raises Unavailable with the reason where it cannot."""
        status = self.status
        if status.state is not State.READY:
            text = "is still loading" if status.state is State.LOADING else f"is not available: {status.reason}"
            raise Unavailable(f"model '{self.name}' version {self.version} {text}")
        return status


class Registry:
    """Finds entries by name and version, and loads them: each on its own, so that a bad model harms no other."""

    def __init__(
        self,
        load: Callable[[Path], Model],
        logger: FilteringBoundLogger,
        load_language: Callable[[Entry], LanguageService] | None = None,
    ) -> None:
        self._load = load
        self._load_language = load_language
        self._logger = logger
        self._models: dict[str, dict[str, Entry]] = {}
        self._waiting: queue.SimpleQueue[Entry] = queue.SimpleQueue()
        self._loaders: list[threading.Thread] = []
        self._closed = False
        self._lock = threading.Lock()  # orders the publishing of a loaded model against close()

    def start(self, found: Iterable[Found], threads: int) -> None:
        """Registers the models as LOADING and returns at once."""
        for one in found:
            entry = Entry(one)
            self._models.setdefault(one.name, {})[one.version] = entry
            if entry.status.state is State.LOADING:
                self._waiting.put(entry)
        for index in range(min(threads, self._waiting.qsize())):
            # Daemons: a load that takes minutes must not hold up the end of the process.
            thread = threading.Thread(target=self._load_waiting, name=f"load-{index}", daemon=True)
            self._loaders.append(thread)
            thread.start()

    def busy(self) -> bool:
        """Whether a load is still under way."""
        return any(thread.is_alive() for thread in self._loaders)

    def entries(self) -> list[Entry]:
        return [entry for versions in self._models.values() for entry in versions.values()]

    def names(self) -> list[str]:
        return list(self._models)

    def versions(self, name: str) -> dict[str, Entry]:
        """The versions of a model in their order; raises NotFound for a name that is not known."""
        if name not in self._models:
            raise NotFound(f"unknown model '{name}'")
        return dict(sorted(self._models[name].items(), key=lambda item: version_key(item[0])))

    def find(self, name: str, version: str | None = None) -> Entry:
        """The named version; else the highest that is ready, else the highest. Raises NotFound for unknown ones."""
        known = self._models.get(name)
        if known is not None and version is None and len(known) == 1:
            return next(iter(known.values()))
        versions = self.versions(name)
        if version is not None:
            if version not in versions:
                raise NotFound(f"model '{name}' has no version '{version}', only {', '.join(versions)}")
            return versions[version]
        ready = [entry for entry in versions.values() if entry.status.state is State.READY]
        return (ready or list(versions.values()))[-1]

    def close(self) -> None:
        """Closes every model; a load that is still under way is closed when it ends."""
        with self._lock:
            self._closed = True
            models = [entry.status.model or entry.status.language for entry in self.entries()]
            for entry in self.entries():
                entry.status = Status(State.UNAVAILABLE, "the server is stopping")
        for model in models:
            if model is not None:
                model.close()

    def _load_waiting(self) -> None:
        while not self._closed:
            try:
                entry = self._waiting.get_nowait()
            except queue.Empty:
                return
            self._publish(entry, self._try_load(entry))

    def _try_load(self, entry: Entry) -> Status:
        begin = time.monotonic()
        log = self._logger.bind(model=entry.name, version=entry.version)
        try:
            loaded = self._load_any(entry)
        except ZigguratError as error:
            log.error("model failed to load", reason=str(error), code=error.code)
            return Status(State.UNAVAILABLE, str(error), None, time.monotonic() - begin)
        except Exception as error:  # a bug in loading one model must not take the others' thread down
            log.exception("model failed to load")
            return Status(State.UNAVAILABLE, f"internal error: {error!r}", None, time.monotonic() - begin)
        seconds = time.monotonic() - begin
        log.info("model ready", seconds=round(seconds, 3))
        return replace(loaded, load_seconds=seconds)

    def _load_any(self, entry: Entry) -> Status:
        if entry.kind == "language":
            if self._load_language is None:
                raise Unsupported("this server has no language models")
            return Status(State.READY, language=self._load_language(entry))
        model = self._load(entry.path)
        return Status(State.READY, "", model, fallback_steps=model.plan().fallback_steps)

    def _publish(self, entry: Entry, status: Status) -> None:
        with self._lock:
            if not self._closed:
                entry.status = status
                return
        loaded = status.model or status.language
        if loaded is not None:
            loaded.close()
