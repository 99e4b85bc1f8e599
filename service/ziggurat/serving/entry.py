"""One version of one model: its state, who is using it, and what it has done."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ziggurat.errors import InvalidArgument, Unavailable, Unsupported
from ziggurat.serving.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from ziggurat.engine import Model
    from ziggurat.serving.batcher import Batcher
    from ziggurat.serving.generation.encoder import EncoderService
    from ziggurat.serving.generation.service import LanguageService
    from ziggurat.serving.repository import Found

    TextService = LanguageService | EncoderService

# What a job of a model is taken to last until some twenty of them have shown otherwise.
UNKNOWN_SECONDS = 0.01


class State(enum.Enum):
    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Status:
    """One moment of an entry; replaced as a whole, so that a reader on another thread never sees half of a change."""

    state: State
    reason: str = ""
    model: Model | None = None
    load_seconds: float = 0.0
    fallback_steps: int = 0
    code: str = ""  # of the error that a load ended in
    language: TextService | None = None  # instead of `model`, where the entry is a language model

    @property
    def loaded(self) -> Model | TextService | None:
        return self.model or self.language


class Entry:
    """`acquire`, `release` and `retire` belong to the event loop; a loader's thread sets the status of a load."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.name = found.name
        self.version = found.version
        self.path = found.path
        self.kind = found.kind
        self.config = found.config
        self.status = Status(State.UNAVAILABLE, found.problem) if found.problem else Status(State.LOADING)
        self.seconds = UNKNOWN_SECONDS
        self.statistics = Statistics()
        self.batcher: Batcher | None = None  # made by serving when the first request comes, where the model allows it
        self.batching_refused = ""  # why the settings ask for batches and there are none
        self.dismissed = False  # unloaded on purpose
        self._users = 0
        self._on_idle: Callable[[], None] | None = None

    def took(self, seconds: float) -> None:
        """Moves `seconds` a step towards what a job took. It follows what three in four jobs exceed: what makes a job
        longer than that is mostly the machine's doing."""
        self.seconds *= 1.05 if seconds > self.seconds else 0.85

    def ready_model(self) -> Model:
        """Raises Unavailable with the reason where the model is not ready, Unsupported for a language model."""
        status = self.check_ready()
        if status.model is None:
            raise Unsupported(f"'{self.name}' is a language model: ask it by generate or the OpenAI routes")
        return status.model

    def ready_language(self) -> TextService:
        """As ready_model, for language models; raises InvalidArgument where this is none."""
        status = self.check_ready()
        if status.language is None:
            raise InvalidArgument(f"'{self.name}' is not a language model: ask it by /v2/models/{self.name}/infer")
        return status.language

    def batch_size(self) -> int:
        """Rows that may share a run, where every input and output has them along its first axis; else 0."""
        status = self.status
        if status.model is None or not self.config.max_batch_size:
            return 0
        rows = status.model.batching()
        leading = set(rows.input_axes) | set(rows.output_axes) == {0}
        return self.config.max_batch_size if rows.independent and leading else 0

    def check_ready(self) -> Status:
        """The status of an entry that can be asked; raises Unavailable with the reason where it cannot."""
        status = self.status
        if status.state is not State.READY:
            text = {State.LOADING: "is still loading", State.UNLOADING: "is being unloaded"}.get(status.state)
            reason = text or f"is not available: {status.reason}"
            raise Unavailable(f"model '{self.name}' version {self.version} {reason}")
        return status

    def acquire(self) -> Status:
        """The status of a model that stays loaded until as many release() calls have come. Raises Unavailable."""
        status = self.check_ready()
        self._users += 1
        return status

    def release(self) -> None:
        self._users -= 1
        if self._users == 0 and self._on_idle is not None:
            self._on_idle()

    def retire(self, close: Callable[[Entry, Model | TextService], None], reason: str) -> None:
        """Takes no more requests; `close` gets the model when the last that was accepted has its answer."""
        self.dismissed = True
        status = self.status
        loaded = status.loaded
        if loaded is None:
            if status.state is not State.LOADING:
                self.status = Status(State.UNAVAILABLE, reason)
            return
        self.status = replace(status, state=State.UNLOADING, reason=reason)

        def idle() -> None:
            self._on_idle = None
            close(self, loaded)

        if self._users:
            self._on_idle = idle
        else:
            idle()
