"""Every setting, declared once, and the one way they are read: command line > environment > file > default.

Nothing here reads the process's state by itself: the caller passes the environment and the command line in.
The environment spells a setting ZIGGURAT_<GROUP>__<KEY>, the file (TOML) as `key = value` under `[group]`.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, ValidationError

from ziggurat.errors import InvalidArgument

ENV_PREFIX = "ZIGGURAT_"


def _split(value: object) -> object:
    """The environment and the command line spell a list with commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ServerSettings(Group):
    name: str = Field(default="ziggurat", description="The server's name in GET /v2 and on the page.")
    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 opens it to the network.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    keep_alive: Seconds = Field(
        default=75.0, description="Seconds an idle connection is kept: longer than proxies keep theirs."
    )
    drain_delay: Seconds = Field(
        default=0.0, description="Seconds after SIGTERM in which new requests are still served while proxies notice."
    )
    grace: Seconds = Field(
        default=30.0, description="Seconds that accepted requests get to finish when the server stops."
    )
    admin: Literal["loopback", "open", "off"] = Field(
        default="loopback",
        description="Who may load, unload and change logging: this machine, everyone who can reach the server, nobody.",
    )
    hang: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=600.0, description="Not live when work is pending and nothing has finished for this many seconds."
    )


class EngineSettings(Group):
    threads: int | None = Field(
        default=None, ge=1, le=4096, description="Worker threads; default: what the machine grants."
    )
    memory_limit: ByteSize | None = Field(
        default=None, description="Budget of the engine, as 8GiB; default: nine tenths of the machine's memory."
    )
    isa: str | None = Field(default=None, description="Force a lower instruction set: sse42, avx2, avx512, avx512vnni.")
    device: str = Field(default="auto", description="Device that models are loaded on.")
    purge_after: Seconds = Field(
        default=10.0, description="Seconds memory may wait unused before it goes back to the system; 0: for ever."
    )
    defragment_above: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = Field(
        default=0.3, description="Share of waiting memory outside its largest piece from which it is put together."
    )


class ModelSettings(Group):
    path: Path | None = Field(
        default=None, description="Repository folder, or one model (a file, or a folder that is one)."
    )
    name: str | None = Field(default=None, description="Name for the model when `path` is one model.")
    required: Names = Field(default=(), description="Models that must be ready before the server is.")
    mode: Literal["explicit", "poll", "none"] = Field(
        default="explicit", description="What changes models later: load and unload calls, the folder, or nothing."
    )
    poll_interval: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=5.0, description="Seconds between two looks at the folder in mode poll."
    )
    load_threads: int = Field(default=2, ge=1, le=64, description="Models that are loaded at the same time.")


class LimitSettings(Group):
    body: ByteSize = Field(default=ByteSize(256 << 20), ge=1, description="Largest request body.")
    running: int | None = Field(
        default=None, ge=1, le=4096, description="Requests computed at once; default: engine threads."
    )
    queue: int = Field(default=1024, ge=0, description="Requests that may wait for a turn; more are refused with 429.")
    timeout: Seconds = Field(
        default=300.0, description="Seconds a request may take unless it says so itself; 0: no limit."
    )


class LanguageSettings(Group):
    weights: Literal["auto", "f32", "bf16", "int8", "int4"] = Field(
        default="auto", description="How language models keep their weights; auto: as the file has them."
    )
    kv_cache: Literal["auto", "f32", "f16", "int8"] = Field(
        default="auto", description="How keys and values of tokens are kept."
    )
    kv_memory: ByteSize | None = Field(
        default=None, description="Memory for keys and values of one model; default: a share of the engine's budget."
    )
    context: int | None = Field(
        default=None, ge=1, description="Most tokens of a sequence; default: what the model's configuration says."
    )
    speculation: Literal["auto", "off", "ngram"] = Field(
        default="auto", description="Whether tokens are guessed ahead from what a text repeats; answers are the same."
    )
    max_sequences: int = Field(default=64, ge=1, le=4096, description="Sequences of one model that run at once.")
    step_tokens: int = Field(
        default=256, ge=1, le=1 << 16, description="Tokens that one step computes; longer prompts come in chunks."
    )
    prefix_cache: bool = Field(default=True, description="Prompts that begin alike share what was computed.")
    sequences: int = Field(
        default=256, ge=1, description="Sequences that run or wait in one language model; more are refused with 429."
    )
    waiting_tokens: int = Field(
        default=1 << 20, ge=1, description="Prompt tokens that may wait to be read; more are refused with 429."
    )
    backlog: int = Field(
        default=4096, ge=1, description="Tokens that a client may be behind before its stream is cut off."
    )
    timeout: Seconds = Field(default=1800.0, description="Seconds that a generation may take; 0: no limit.")


class ReproSettings(Group):
    dir: Path | None = Field(
        default=None, description="Folder for what is needed to see a failed run again; inputs of clients included."
    )
    bundles: int = Field(default=10, ge=1, le=10_000, description="Failed runs that the folder may hold.")
    limit: ByteSize = Field(default=ByteSize(1 << 30), ge=1, description="Bytes that one of them may take.")


class LoggingSettings(Group):
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe line that is logged."
    )
    format: Literal["auto", "plain", "json"] = Field(
        default="auto", description="auto: plain on a terminal, else JSON."
    )
    requests: bool = Field(default=False, description="Log every request, not only the failed ones.")


class Settings(Group):
    server: ServerSettings = ServerSettings()
    engine: EngineSettings = EngineSettings()
    models: ModelSettings = ModelSettings()
    limits: LimitSettings = LimitSettings()
    language: LanguageSettings = LanguageSettings()
    repro: ReproSettings = ReproSettings()
    logging: LoggingSettings = LoggingSettings()


@dataclass(frozen=True)
class Loaded:
    """Settings and, for each "group.key" that is not a default, where its value came from."""

    settings: Settings
    origins: dict[str, str]

    def rows(self) -> list[tuple[str, str, str, str]]:
        """(group.key, value, origin, description) of every setting, in the order of declaration."""
        rows = []
        for group, values in self.settings:
            for key, field in type(values).model_fields.items():
                name, value = f"{group}.{key}", getattr(values, key)
                text = value.human_readable() if isinstance(value, ByteSize) else _show(value)
                rows.append((name, text, self.origins.get(name, "default"), field.description or ""))
        return rows


def load(
    cli: Mapping[str, Mapping[str, object]] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Loaded:
    """Merges the sources; raises InvalidArgument that names the setting and where its wrong value stands."""
    sources = [
        (f"file {file}", _read_file(file) if file else {}),
        ("environment", _read_environment(environ or {})),
        ("command line", cli or {}),
    ]
    merged: dict[str, dict[str, object]] = {}
    origins: dict[str, str] = {}
    for origin, groups in sources:
        for group, values in groups.items():
            if not isinstance(values, Mapping):
                raise InvalidArgument(f"setting '{group}' ({origin}): expected a group of settings, got {values!r}")
            merged.setdefault(group, {}).update(values)
            origins.update({f"{group}.{key}": origin for key in values})
    try:
        return Loaded(Settings.model_validate(merged), origins)
    except ValidationError as error:
        raise InvalidArgument(_explain(error, origins)) from None


def _read_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidArgument(f"settings file {file}: {error.strerror}") from None
    except ValueError as error:
        raise InvalidArgument(f"settings file {file} is not TOML: {error}") from None


def _read_environment(environ: Mapping[str, str]) -> dict[str, dict[str, object]]:
    groups: dict[str, dict[str, object]] = {}
    for variable, value in environ.items():
        # Kubernetes injects ZIGGURAT_PORT and the like for a service of that name: without "__" it is not ours.
        if variable.startswith(ENV_PREFIX) and "__" in variable:
            group, _, key = variable[len(ENV_PREFIX) :].lower().partition("__")
            groups.setdefault(group, {})[key] = value
    return groups


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_context=False):
        path = [str(part) for part in problem["loc"][:2]]
        name = ".".join(path)
        origin = origins.get(name) or next((at for key, at in origins.items() if key.startswith(f"{name}.")), "?")
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown setting '{name}' ({origin}){_nearest(path)}")
        else:
            lines.append(f"setting '{name}' ({origin}): {problem['msg']}, got {problem['input']!r}")
    return "; ".join(lines)


def _nearest(path: list[str]) -> str:
    names = [row[0] for row in Loaded(Settings(), {}).rows()]
    known = names if len(path) > 1 else [name.partition(".")[0] for name in names]
    close = difflib.get_close_matches(".".join(path), known, n=1, cutoff=0.5)
    return f": did you mean '{close[0]}'?" if close else f": known are {', '.join(dict.fromkeys(known))}"


def _show(value: object) -> str:
    if value is None:
        return "(unset)"
    return ",".join(value) or "(none)" if isinstance(value, tuple) else str(value)
