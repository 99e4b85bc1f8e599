"""A checkpoint as architectures see it: configuration, tensors by the names that transformers gives them, and where
the rest (tokenizer, templates) is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ziggurat.errors import InvalidModel, NotFound, Unsupported
from ziggurat.formats.gguf import Gguf, read_gguf
from ziggurat.formats.safetensors import read_index, read_safetensors
from ziggurat.formats.source import FileSource
from ziggurat.formats.stored import StoredTensor

MAX_JSON_BYTES = 1 << 24
_SPLIT_NAME = re.compile(r"^(.*)-(\d{5})-of-(\d{5})\.gguf$")
MAX_GGUF_PARTS = 1000


@dataclass(frozen=True)
class Checkpoint:
    """`path` is what the user gave. `metadata` is GGUF's, None for a folder; `config` is config.json, or empty."""

    path: str
    tensors: dict[str, StoredTensor]
    config: Mapping[str, Any] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] | None = None


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Opens a Hugging Face folder (config.json and safetensors) or a GGUF file (or the folder of one).

    Raises:
        NotFound: there is nothing at the path.
        InvalidModel: what is there is damaged or incomplete.
        Unsupported: it is a checkpoint of a kind that is not read, as PyTorch's .bin.
    """
    place = Path(path)
    if not place.exists():
        raise NotFound(f"'{place}' does not exist")
    if place.is_dir() and not (place / "config.json").exists():
        found = sorted(place.glob("*.gguf"))
        whole = [one for one in found if not (match := _SPLIT_NAME.match(one.name)) or int(match[2]) == 1]
        if len(whole) != 1:
            raise InvalidModel(f"'{place}' has no config.json and {len(whole)} GGUF models; name one")
        place = whole[0]
    return _open_folder(place) if place.is_dir() else _open_gguf(place)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint's folder.

    Raises:
        InvalidModel: too large, not JSON, or not an object.
    """
    with FileSource(path) as source:
        if source.size > MAX_JSON_BYTES:
            raise InvalidModel(f"'{path}' has {source.size} bytes, the limit is {MAX_JSON_BYTES}")
        try:
            value = json.loads(source.read(0, source.size).decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise InvalidModel(f"'{path}' is not valid JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise InvalidModel(f"'{path}' is not a JSON object")
    return value


def _open_folder(folder: Path) -> Checkpoint:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if index.exists():
        tensors = read_index(index)
    elif single.exists():
        tensors = read_safetensors(single)
    elif any(folder.glob("pytorch_model*.bin")):
        raise Unsupported(f"'{folder}' has PyTorch's .bin weights only; save them as safetensors")
    else:
        raise InvalidModel(f"'{folder}' has no model.safetensors and no model.safetensors.index.json")
    generation = folder / "generation_config.json"
    return Checkpoint(
        path=str(folder),
        tensors=tensors,
        config=read_json(folder / "config.json"),
        generation=read_json(generation) if generation.exists() else {},
    )


def _open_gguf(path: Path) -> Checkpoint:
    first = read_gguf(path)
    tensors = dict(first.tensors)
    for part in _other_parts(path, first):
        for name, tensor in part.tensors.items():
            if name in tensors:
                raise InvalidModel(f"two parts of '{path}' have it", tensor=name)
            tensors[name] = tensor
    return Checkpoint(path=str(path), tensors=tensors, metadata=first.metadata)


def _other_parts(path: Path, first: Gguf) -> list[Gguf]:
    """The further files of a split model; the first one has the metadata."""
    count = first.metadata.get("split.count", 1)
    if count in (0, 1):
        return []
    match = _SPLIT_NAME.match(path.name)
    if match is None or match[3] != f"{count:05d}" or not 1 < count <= MAX_GGUF_PARTS:
        raise InvalidModel(f"'{path}' is a part of {count}; expected a name that ends in -00001-of-{count:05d}.gguf")
    if int(match[2]) != 1:
        raise InvalidModel(f"'{path}' is part {int(match[2])} of a split model; open its first part")
    names = [f"{match[1]}-{number:05d}-of-{match[3]}.gguf" for number in range(2, count + 1)]
    return [read_gguf(path.with_name(name)) for name in names]
