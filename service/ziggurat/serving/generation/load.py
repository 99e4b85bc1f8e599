"""A found language model becomes a service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ziggurat
from ziggurat.errors import Unsupported
from ziggurat.formats.architectures.encoder_reader import is_encoder
from ziggurat.serving.generation.encoder import EncoderService
from ziggurat.serving.generation.service import LanguageService, Observer, Options

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from ziggurat.engine import Engine
    from ziggurat.serving.entry import Entry, TextService
    from ziggurat.settings import LanguageSettings


class LanguageLoader:
    """Loads the language models of one server; what they share is handed in once."""

    def __init__(
        self, settings: LanguageSettings, engine: Engine, observer: Observer, logger: FilteringBoundLogger
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._observer = observer
        self._logger = logger

    def __call__(self, entry: Entry) -> TextService:
        config, path = entry.config, entry.path
        settings = config.language.over(self._settings)
        timeout = settings.timeout if config.timeout is None else config.timeout
        options = Options(settings.sequences, settings.waiting_tokens, settings.backlog, timeout)
        shared: dict[str, Any] = {"weights": settings.weights, "threads": config.threads, "engine": self._engine}
        if config.device is not None:
            shared["device"] = config.device
        if isinstance(path, bytes):
            raise Unsupported("language models are loaded from the repository, not from a request")
        if is_encoder(path):
            encoder = ziggurat.load_encoder(path, **shared)
            return EncoderService(entry.name, encoder, options, self._observer)
        language = ziggurat.load_llm(
            path,
            kv_cache=settings.kv_cache,
            kv_memory=settings.kv_memory,
            context=settings.context,
            speculation=settings.speculation,
            max_sequences=settings.max_sequences,
            step_tokens=settings.step_tokens,
            prefix_cache=settings.prefix_cache,
            **shared,
        )
        return LanguageService(entry.name, language, options, self._observer, self._logger)
