"""Which models a path holds.

A folder may hold `<name>/<version>/model.onnx`, `<name>/model.onnx` and `<name>.onnx`, and folders of those, so that
a name may contain "/". A language model is a folder with config.json beside its weights, `<name>/*.gguf` or
`<name>.gguf`. The path may also be one model: a file, or a folder that is one. Settings of a model stand in
`<name>/model.yaml`, or in `<name>.yaml` beside `<name>.onnx`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ziggurat.errors import InvalidArgument, NotFound
from ziggurat.serving.model_config import SETTINGS_FILE, ModelConfig, read_config

Kind = Literal["onnx", "language"]

MODEL_FILE = "model.onnx"
CONFIG_FILE = "config.json"  # of a language model in Hugging Face's layout, beside *.safetensors
FILE_KINDS: dict[str, Kind] = {".onnx": "onnx", ".gguf": "language"}
MAX_DEPTH = 8  # folders below the repository; also what ends a loop of symbolic links
MAX_ENTRIES = 10_000  # a repository, not somebody's home folder
MAX_BESIDE = 1000  # files beside a model that are watched for changes

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,127}")
# Files of a model that is cut in parts are read through the first of them.
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
# A name that ends in a route's last word, or contains "versions", could not be told from that route.
_RESERVED = frozenset(("ready", "infer", "generate", "generate_stream", "config", "stats", "load", "unload", "trace"))


@dataclass(frozen=True, slots=True)
class Found:
    """A version of a model that a path holds; `problem` says why it cannot be served, where that is known already.

    `path` is the file's bytes where a client sent them. Equal stamps: nothing changed on disk in between.
    """

    name: str
    version: str
    path: Path | bytes
    problem: str | None = None
    kind: Kind = "onnx"
    config: ModelConfig = field(default=ModelConfig(), compare=False)
    stamp: tuple[object, ...] = field(default=(), compare=False, repr=False)


def scan(path: Path, name: str | None = None, every_version: bool = False) -> list[Found]:
    """Every model under `path`, ordered by name and version; `name` is for a path that is one model.

    Of a model's versions those that its settings choose, unless `every_version` is asked for.
    Raises NotFound where there is nothing at `path`, InvalidArgument where it cannot be a model or a repository.
    """
    if path.is_file():
        kind = FILE_KINDS.get(path.suffix.lower())
        if kind is None:
            raise InvalidArgument(f"'{path}' is not a model: expected an .onnx or .gguf file or a folder")
        found = _with_settings([Found(name or path.stem, "1", path, kind=kind)], path.parent, f"{path.stem}.yaml")
    elif path.is_dir():
        found = _scan_folder(path, name)
    else:
        raise NotFound(f"'{path}' does not exist")
    if not every_version:
        models: dict[str, list[Found]] = {}
        for one in found:
            models.setdefault(one.name, []).append(one)
        found = [one for versions in models.values() for one in choose(versions, versions[0].config)]
    checked = [replace(one, problem=one.problem or name_problem(one.name)) for one in found]
    return sorted(_check_aliases(checked), key=lambda one: (one.name, version_key(one.version)))


def version_key(version: str) -> tuple[int, str]:
    """Orders versions by number, so that 10 follows 9."""
    return (int(version) if version.isdecimal() else -1, version)


def _scan_folder(path: Path, name: str | None) -> list[Found]:
    own = list(_versions(name or path.resolve().name, path))
    if own:
        return own
    budget = [MAX_ENTRIES]
    found = _unique(_walk(path, "", MAX_DEPTH, budget))
    if name is None:
        return found
    if len({one.name for one in found}) != 1:
        names = ", ".join(sorted({one.name for one in found})) or "none"
        raise InvalidArgument(f"a name was given, but '{path}' is not one model: it holds {names}")
    return [replace(one, name=name) for one in found]


def _versions(name: str, folder: Path) -> Iterator[Found]:
    """The versions of the model that `folder` is; none when it is not a model."""
    alone = _in_folder(name, "1", folder)
    if alone is not None:
        yield from _with_settings([alone], folder)
        return
    numbered = [child for child in _children(folder) if child.name.isdecimal() and child.name.isascii()]
    there = [_in_folder(name, child.name, child) for child in numbered if child.is_dir()]
    yield from _with_settings([version for version in there if version is not None], folder)


def _in_folder(name: str, version: str, folder: Path) -> Found | None:
    """The model whose files lie in `folder` itself; an ONNX model goes before weights that it may have come from."""
    if (folder / MODEL_FILE).is_file():
        return Found(name, version, folder / MODEL_FILE)
    files = [child for child in _children(folder) if child.is_file()]
    if (folder / CONFIG_FILE).is_file() and any(file.suffix == ".safetensors" for file in files):
        return Found(name, version, folder, kind="language")
    weights = [file for file in files if file.suffix.lower() == ".gguf" and not _LATER_PART.search(file.name)]
    shelf = len(files) != len(_children(folder)) or any(file.suffix.lower() == ".onnx" for file in files)
    # Several files, or models beside it, make a shelf where each is named by its file.
    return Found(name, version, weights[0], kind="language") if len(weights) == 1 and not shelf else None


def _with_settings(versions: list[Found], folder: Path, file: str = SETTINGS_FILE) -> list[Found]:
    """One model's versions with its settings, and what tells a change on disk."""
    try:
        config, problem = read_config(folder, file), None
    except InvalidArgument as error:
        config, problem = ModelConfig(), str(error)
    settings = _stat(folder / file) if versions else None
    return [
        replace(one, problem=one.problem or problem, config=config, stamp=(settings, *stamp(one.path)))
        for one in versions
    ]


def choose(versions: list[Found], config: ModelConfig) -> list[Found]:
    """The versions that the policy of `config` names; one that is not there has that as its problem."""
    there = {one.version: one for one in versions}
    chosen = sorted(config.versions.chosen(there), key=version_key)
    missing = "the settings ask for version {}: it is not there"
    return [
        there.get(version) or replace(versions[0], version=version, problem=missing.format(version))
        for version in chosen
    ]


def stamp(path: Path | bytes) -> tuple[object, ...]:
    """Changes when the model's files do: those that lie in its folder, or the one file that it is."""
    if isinstance(path, bytes):
        return (id(path),)
    folder = path if path.is_dir() else path.parent if path.name == MODEL_FILE else None
    files = [path] if folder is None else _children(folder)[:MAX_BESIDE]
    return tuple((file.name, _stat(file)) for file in files if not file.is_dir())


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def _walk(folder: Path, prefix: str, depth: int, budget: list[int]) -> Iterator[Found]:
    for child in _children(folder):
        budget[0] -= 1
        if budget[0] < 0:
            raise InvalidArgument(f"'{folder}' is not a model repository: more than {MAX_ENTRIES} entries")
        kind = FILE_KINDS.get(child.suffix.lower())
        if kind is not None and child.is_file():
            if not _LATER_PART.search(child.name):
                alone = Found(prefix + child.stem, "1", child, kind=kind)
                yield from _with_settings([alone], folder, f"{child.stem}.yaml")
        elif child.is_dir():
            own = list(_versions(prefix + child.name, child))
            yield from own
            if not own and depth > 1:
                yield from _walk(child, f"{prefix}{child.name}/", depth - 1, budget)


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if not child.name.startswith((".", "__")))
    except OSError:
        return []  # a folder that may not be read holds no models for us


def _unique(found: Iterator[Found]) -> list[Found]:
    """`a.onnx` and `a/model.onnx` would both be version 1 of `a`: the first is kept, and says that it is not alone."""
    kept: dict[tuple[str, str], Found] = {}
    for one in found:
        other = kept.setdefault((one.name, one.version), one)
        if other is not one:
            problem = f"'{other.path!s}' and '{one.path!s}' both claim version {one.version} of '{one.name}'"
            kept[one.name, one.version] = replace(other, problem=problem)
    return list(kept.values())


def _check_aliases(found: list[Found]) -> list[Found]:
    """An alias may be claimed once, and by no model's own name: who comes later in the order of names says so."""
    owners = {one.name: one.name for one in found}
    checked = []
    for one in sorted(found, key=lambda one: one.name):
        problem = one.problem
        for alias in one.config.aliases:
            owner = owners.setdefault(alias, one.name)
            if owner != one.name:
                problem = problem or f"the alias '{alias}' is taken by '{owner}'"
            problem = problem or name_problem(alias)
        checked.append(replace(one, problem=problem))
    return checked


def name_problem(name: str) -> str | None:
    segments = name.split("/")
    for segment in segments:
        if not _SEGMENT.fullmatch(segment):
            return f"'{segment}' cannot be part of a model's name: use letters, digits and _ . + @ -"
    if segments[-1] in _RESERVED or "versions" in segments:
        return f"'{name}' cannot be a model's name: it reads as a route"
    return None
