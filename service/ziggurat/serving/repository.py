"""Which models a path holds.

A folder may hold `<name>/<version>/model.onnx`, `<name>/model.onnx` and `<name>.onnx`, and folders of those, so that
a name may contain "/". The path may also be one model: an .onnx file, or a folder that is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ziggurat.errors import InvalidArgument, NotFound

MODEL_FILE = "model.onnx"
MAX_DEPTH = 8  # folders below the repository; also what ends a loop of symbolic links
MAX_ENTRIES = 10_000  # a repository, not somebody's home folder

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,127}")
# A name that ends in a route's last word, or contains "versions", could not be told from that route.
_RESERVED = frozenset(("ready", "infer", "generate", "generate_stream", "config", "stats", "load", "unload", "trace"))


@dataclass(frozen=True, slots=True)
class Found:
    """A model that a path holds; `problem` says why it cannot be served, where that is known from its name alone."""

    name: str
    version: str
    path: Path
    problem: str | None = None


def scan(path: Path, name: str | None = None) -> list[Found]:
    """Every model under `path`, ordered by name and version; `name` is for a path that is one model.

    Raises NotFound where there is nothing at `path`, InvalidArgument where it cannot be a model or a repository.
    """
    if path.is_file():
        if path.suffix.lower() != ".onnx":
            raise InvalidArgument(f"'{path}' is not a model: expected an .onnx file or a folder")
        found = [Found(name or path.stem, "1", path)]
    elif path.is_dir():
        found = _scan_folder(path, name)
    else:
        raise NotFound(f"'{path}' does not exist")
    checked = [Found(one.name, one.version, one.path, one.problem or _name_problem(one.name)) for one in found]
    return sorted(checked, key=lambda one: (one.name, version_key(one.version)))


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
    return [Found(name, one.version, one.path, one.problem) for one in found]


def _versions(name: str, folder: Path) -> Iterator[Found]:
    """The versions of the model that `folder` is; none when it is not a model."""
    if (folder / MODEL_FILE).is_file():
        yield Found(name, "1", folder / MODEL_FILE)
        return
    for child in _children(folder):
        if child.name.isdecimal() and child.name.isascii() and (child / MODEL_FILE).is_file():
            yield Found(name, child.name, child / MODEL_FILE)


def _walk(folder: Path, prefix: str, depth: int, budget: list[int]) -> Iterator[Found]:
    for child in _children(folder):
        budget[0] -= 1
        if budget[0] < 0:
            raise InvalidArgument(f"'{folder}' is not a model repository: more than {MAX_ENTRIES} entries")
        if child.suffix.lower() == ".onnx" and child.is_file():
            yield Found(prefix + child.stem, "1", child)
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
            problem = f"'{other.path}' and '{one.path}' both claim version {one.version} of '{one.name}'"
            kept[one.name, one.version] = Found(one.name, one.version, other.path, problem)
    return list(kept.values())


def _name_problem(name: str) -> str | None:
    segments = name.split("/")
    for segment in segments:
        if not _SEGMENT.fullmatch(segment):
            return f"'{segment}' cannot be part of a model's name: use letters, digits and _ . + @ -"
    if segments[-1] in _RESERVED or "versions" in segments:
        return f"'{name}' cannot be a model's name: it reads as a route"
    return None
