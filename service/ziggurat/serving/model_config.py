"""Settings of one model: `model.yaml` beside it, or the `config` that a load request brings (Triton's ModelConfig)."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml  # type: ignore[import-untyped]  # PyYAML comes with uvicorn[standard]
from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError, field_validator

from ziggurat.errors import InvalidArgument
from ziggurat.settings import LanguageSettings

SETTINGS_FILE = "model.yaml"
MAX_FILE = 1 << 20  # bytes; what is longer is no settings file
LABELS_MAX = 16 << 20  # bytes of a file with labels


class VersionPolicy(BaseModel):
    """Which of the versions that are there are served: all, the `latest` n, or the `specific` ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    latest: int | None = Field(default=None, ge=1, le=1_000_000, description="Only so many, the highest ones.")
    specific: tuple[int, ...] | None = Field(default=None, description="Only these.")

    def chosen(self, versions: Iterable[str]) -> set[str]:
        """Of `versions`, those to serve; specific ones are named whether they are there or not."""
        if self.specific is not None:
            return {str(version) for version in self.specific}
        known = sorted(versions, key=lambda version: int(version) if version.isdecimal() else -1)
        return set(known if self.latest is None else known[-self.latest :])

    def describe(self) -> dict[str, Any]:
        """As Triton's ModelConfig spells it."""
        if self.specific is not None:
            return {"specific": {"versions": list(self.specific)}}
        return {"all": {}} if self.latest is None else {"latest": {"num_versions": self.latest}}


class LanguageConfig(BaseModel):
    """What is special about one language model; what is not said here is the server's `language.…` setting."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    weights: Literal["auto", "f32", "bf16", "int8", "int4"] | None = Field(
        default=None, description="How they are kept."
    )
    kv_cache: Literal["auto", "f32", "f16", "int8"] | None = Field(default=None, description="Keys and values.")
    kv_memory: ByteSize | None = Field(default=None, ge=1, description="Memory for keys and values, as 2GiB.")
    context: int | None = Field(default=None, ge=1, description="Most tokens of a sequence.")
    speculation: Literal["auto", "off", "ngram"] | None = Field(default=None, description="Guessing ahead.")
    max_sequences: int | None = Field(default=None, ge=1, le=4096, description="Sequences that run at once.")
    step_tokens: int | None = Field(default=None, ge=1, le=1 << 16, description="Tokens that one step computes.")
    prefix_cache: bool | None = Field(default=None, description="Whether prompts that begin alike share work.")
    sequences: int | None = Field(default=None, ge=1, description="Sequences that run or wait; more get 429.")
    waiting_tokens: int | None = Field(default=None, ge=1, description="Prompt tokens that may wait to be read.")
    backlog: int | None = Field(default=None, ge=1, description="Tokens that a client may be behind.")

    def over(self, settings: LanguageSettings) -> LanguageSettings:
        """The server's settings, with those of this model in their place."""
        return settings.model_copy(update=self.model_dump(exclude_none=True))


class ModelConfig(BaseModel):
    """One declaration for each key of `model.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    versions: VersionPolicy = Field(default=VersionPolicy(), description="`all`, `latest: 2` or `specific: [1, 3]`.")
    aliases: tuple[str, ...] = Field(default=(), description="Other names that the model answers to.")
    max_batch_size: int = Field(default=0, ge=0, le=1 << 20, description="Rows that may share a run; 0: no batching.")
    max_queue_delay: float = Field(
        default=0.002, ge=0, le=10, allow_inf_nan=False, description="Seconds a request may wait for others to share."
    )
    timeout: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Seconds a request may take; default: limits.timeout."
    )
    required: bool = Field(default=False, description="The server is not ready before this model is.")
    device: str | None = Field(default=None, description="Device to load it on; default: engine.device.")
    threads: int | None = Field(default=None, ge=1, le=4096, description="Workers that one run may use.")
    labels: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="For each output, names of its classes: a list, or a file with one a line."
    )
    language: LanguageConfig = Field(default=LanguageConfig(), description="For language models: see LanguageConfig.")

    @field_validator("versions", mode="before")
    @classmethod
    def _all(cls, value: object) -> object:
        return {} if value == "all" else value


def read_config(folder: Path, file: str = SETTINGS_FILE) -> ModelConfig:
    """The settings in `folder`, the defaults where it has none. Raises InvalidArgument that names the wrong key."""
    path = folder / file
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_FILE + 1)
    except FileNotFoundError:
        return ModelConfig()
    except OSError as error:
        raise InvalidArgument(f"{file}: {error.strerror}") from None
    if len(text) > MAX_FILE:
        raise InvalidArgument(f"{file} has more than {MAX_FILE} bytes")
    try:
        document = yaml.safe_load(text.decode())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    if document is None:
        return ModelConfig()
    if not isinstance(document, dict):
        raise InvalidArgument(f"{file} must hold keys and values, not a {type(document).__name__}")
    if isinstance(document.get("labels"), dict):
        document["labels"] = {key: _labels(folder, value) for key, value in document["labels"].items()}
    return validate(document, file)


def validate(document: Mapping[Any, Any], origin: str) -> ModelConfig:
    try:
        return ModelConfig.model_validate(dict(document))
    except ValidationError as error:
        raise InvalidArgument(_explain(error, origin)) from None


def _labels(folder: Path, value: object) -> object:
    """A list as it is; a file's name as the lines of that file, which must lie in the model's own folder."""
    if not isinstance(value, str):
        return value
    path = (folder / value).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InvalidArgument(f"labels: '{value}' is outside of the model's folder")
    try:
        if path.stat().st_size > LABELS_MAX:
            raise InvalidArgument(f"labels: '{value}' has more than {LABELS_MAX} bytes")
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"labels: '{value}' cannot be read: {error}") from None


_GROUPS: dict[str, type[BaseModel]] = {"versions": VersionPolicy, "language": LanguageConfig}


def _explain(error: ValidationError, origin: str) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_context=False):
        path = [str(part) for part in problem["loc"]]
        if problem["type"] == "extra_forbidden":
            known = list(_GROUPS.get(path[0] if len(path) > 1 else "", ModelConfig).model_fields)
            lines.append(f"{origin}: unknown key '{'.'.join(path)}'{nearest(path[-1], known)}")
        else:
            lines.append(f"{origin}: key '{'.'.join(path)}': {problem['msg']}, got {problem['input']!r}")
    return "; ".join(lines)


def nearest(word: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f": did you mean '{close[0]}'?" if close else f": known are {', '.join(names)}"


# Keys of Triton's ModelConfig that say what the model itself tells, or how Triton would run it: accepted, not used.
_IGNORED = frozenset(("name", "platform", "backend", "input", "output", "instance_group", "default_model_filename"))
_KNOWN = ("max_batch_size", "version_policy", "dynamic_batching", "parameters", *sorted(_IGNORED))


def from_triton(text: str, base: ModelConfig) -> ModelConfig:
    """The `config` parameter of a load request over `base`. Raises InvalidArgument."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"'config' is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidArgument("'config' must be a JSON object")
    values: dict[str, Any] = {}
    for key, value in document.items():
        if key == "max_batch_size":
            values[key] = value
        elif key == "version_policy":
            values["versions"] = _policy(value)
        elif key == "dynamic_batching":
            values |= _dynamic_batching(value)
        elif key == "parameters":
            values |= _parameters(value)
        elif key not in _IGNORED:
            raise InvalidArgument(f"config: unknown key '{key}'{nearest(key, _KNOWN)}")
    return validate({**base.model_dump(), **values}, "config")


def _policy(value: object) -> dict[str, Any]:
    match value:
        case {"all": _}:
            return {}
        case {"latest": {"num_versions": count}}:
            return {"latest": count}
        case {"latest": _}:
            return {"latest": 1}
        case {"specific": {"versions": [*versions]}}:
            return {"specific": versions}
    raise InvalidArgument("config: 'version_policy' is {all: {}}, {latest: {num_versions}} or {specific: {versions}}")


def _dynamic_batching(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidArgument("config: 'dynamic_batching' must be an object")
    delay = value.get("max_queue_delay_microseconds", 0)
    if isinstance(delay, str) and delay.isdecimal() and len(delay) < 12:  # protobuf's JSON writes uint64 as a string
        delay = int(delay)
    if type(delay) is not int or delay < 0:
        raise InvalidArgument("config: 'max_queue_delay_microseconds' must be a number")
    return {"max_queue_delay": delay / 1e6}


def _parameters(value: object) -> dict[str, Any]:
    """Our own keys, as Triton carries a backend's: {"threads": {"string_value": "2"}}."""
    if not isinstance(value, dict):
        raise InvalidArgument("config: 'parameters' must be an object")
    allowed = ("threads", "device", "timeout", "required")
    values = {}
    for key, item in value.items():
        if key not in allowed:
            raise InvalidArgument(f"config: unknown parameter '{key}'{nearest(key, allowed)}")
        values[key] = item.get("string_value") if isinstance(item, dict) else item
    return values
