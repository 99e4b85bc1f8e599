"""One logger, made at the top and passed down: plain lines on a terminal, JSON elsewhere."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, TextIO, cast

import orjson
import structlog

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger, Processor

    from ziggurat.settings import LoggingSettings


_KEY = "_verbosity"
_LEVELS = ("debug", "info", "warning", "error")


class Verbosity:
    """Which levels are written, each by itself; may be changed while others log."""

    def __init__(self, level: str) -> None:
        first = _LEVELS.index(level)
        self.debug, self.info, self.warning, self.error = (_LEVELS.index(name) >= first for name in _LEVELS)

    def change(self, **levels: bool) -> None:
        for name, wanted in levels.items():
            setattr(self, name, wanted)

    def drops(self, method: str) -> bool:
        level = method if method in _LEVELS else "error"  # critical, exception
        return not getattr(self, level)


def make_logger(settings: LoggingSettings, stream: TextIO) -> FilteringBoundLogger:
    plain = settings.format == "plain" or (settings.format == "auto" and stream.isatty())
    processors: list[Processor] = [
        _filter,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if plain else "iso", utc=not plain),
    ]
    if plain:
        processors.append(structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=0))
    else:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_to_json)]
    logger = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        cache_logger_on_first_use=False,
    )
    return cast("FilteringBoundLogger", logger.bind(**{_KEY: Verbosity(settings.level)}))


def verbosity_of(logger: FilteringBoundLogger) -> Verbosity:
    """What decides on the lines of a logger that make_logger made, and of all that were bound from it."""
    return cast("Verbosity", structlog.get_context(logger)[_KEY])


def _filter(_: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if event.pop(_KEY).drops(method):
        raise structlog.DropEvent
    return event


class Forward(logging.Handler):
    """Hands what a library says through the standard logging module to our logger."""

    def __init__(self, logger: FilteringBoundLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        self._logger.log(record.levelno, record.getMessage(), source=record.name, exc_info=record.exc_info or None)


def _to_json(event: Any, **_: Any) -> str:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # half of a surrogate pair, in a name that a client made up: the line counts more than its letter
        safe = {_text(key): value if isinstance(value, bool) else _text(value) for key, value in event.items()}
        return orjson.dumps(safe).decode()


def _text(value: object) -> str:
    return str(value).encode(errors="replace").decode()
