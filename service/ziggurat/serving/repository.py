"""Which models a path holds.

A folder may hold `<name>/<version>/model.onnx`, `<name>/model.onnx` and `<name>.onnx`, and folders of those, so that
a name may contain "/". A language model is a folder with config.json beside its weights, `<name>/*.gguf` or
`<name>.gguf`. The path may also be one model: a file, or a folder that is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ziggurat.errors import InvalidArgument, NotFound

Kind = Literal["onnx", "language"]

MODEL_FILE = "model.onnx"
CONFIG_FILE = "config.json"  # of a language model in Hugging Face's layout, beside *.safetensors
FILE_KINDS: dict[str, Kind] = {".onnx": "onnx", ".gguf": "language"}
MAX_DEPTH = 8  # folders below the repository; also what ends a loop of symbolic links
MAX_ENTRIES = 10_000  # a repository, not somebody's home folder

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,127}")
# Files of a model that is cut in parts are read through the first of them.
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
# A name that ends in a route's last word, or contains "versions", could not be told from that route.
_RESERVED = frozenset(("ready", "infer", "generate", "generate_stream", "config", "stats", "load", "unload", "trace"))


@dataclass(frozen=True, slots=True)
class Found:
    """A model that a path holds; `problem` says why it cannot be served, where that is known from its name alone."""

    name: str
    version: str
    path: Path
    problem: str | None = None
    kind: Kind = "onnx"


def scan(path: Path, name: str | None = None) -> list[Found]:
    """Every model under `path`, ordered by name and version; `name` is for a path that is one model.

    Raises NotFound where there is nothing at `path`, InvalidArgument where it cannot be a model or a repository.
    """
    if path.is_file():
        kind = FILE_KINDS.get(path.suffix.lower())
        if kind is None:
            raise InvalidArgument(f"'{path}' is not a model: expected an .onnx or .gguf file or a folder")
        found = [Found(name or path.stem, "1", path, kind=kind)]
    elif path.is_dir():
        found = _scan_folder(path, name)
    else:
        raise NotFound(f"'{path}' does not exist")
    checked = [replace(one, problem=one.problem or _name_problem(one.name)) for one in found]
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
    return [replace(one, name=name) for one in found]


def _versions(name: str, folder: Path) -> Iterator[Found]:
    """The versions of the model that `folder` is; none when it is not a model."""
    alone = _in_folder(name, "1", folder)
    if alone is not None:
        yield alone
        return
    for child in _children(folder):
        if child.name.isdecimal() and child.name.isascii() and child.is_dir():
            version = _in_folder(name, child.name, child)
            if version is not None:
                yield version


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


def _walk(folder: Path, prefix: str, depth: int, budget: list[int]) -> Iterator[Found]:
    for child in _children(folder):
        budget[0] -= 1
        if budget[0] < 0:
            raise InvalidArgument(f"'{folder}' is not a model repository: more than {MAX_ENTRIES} entries")
        kind = FILE_KINDS.get(child.suffix.lower())
        if kind is not None and child.is_file():
            if not _LATER_PART.search(child.name):
                yield Found(prefix + child.stem, "1", child, kind=kind)
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
            kept[one.name, one.version] = replace(other, problem=problem)
    return list(kept.values())


def _name_problem(name: str) -> str | None:
    segments = name.split("/")
    for segment in segments:
        if not _SEGMENT.fullmatch(segment):
            return f"'{segment}' cannot be part of a model's name: use letters, digits and _ . + @ -"
    if segments[-1] in _RESERVED or "versions" in segments:
        return f"'{name}' cannot be a model's name: it reads as a route"
    return None
