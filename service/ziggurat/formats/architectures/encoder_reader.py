"""read_encoder: a folder becomes the graph of an embedding model or of a cross-encoder."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ziggurat.errors import InvalidArgument, InvalidModel, Unsupported
from ziggurat.formats.architectures import registry
from ziggurat.formats.architectures.checkpoint import open_checkpoint
from ziggurat.formats.architectures.config import Config
from ziggurat.formats.architectures.encoder import Encoder
from ziggurat.formats.architectures.sentence import longest_text, read_pooling
from ziggurat.formats.architectures.weights import Weights
from ziggurat.types import EncoderSpec


@dataclass(frozen=True)
class EncoderSource:
    """`path` is the folder with the tokenizer; `first` the position of a text's first token."""

    graph: Any
    spec: EncoderSpec
    path: str
    first: int
    warnings: list[str] = field(default_factory=list)


def is_encoder(path: str | os.PathLike[str]) -> bool:
    """Whether the folder's config.json names an encoder; nothing else is looked at."""
    place = Path(path)
    try:
        checkpoint = open_config(place)
    except InvalidModel:
        return False
    return checkpoint.get("model_type") in registry.ENCODERS


def open_config(folder: Path) -> dict[str, Any]:
    """config.json of the encoder itself, which modules.json may keep in a folder of its own; empty if there is none."""
    from ziggurat.formats.architectures.checkpoint import read_json

    for place in (folder / "config.json", folder / "0_Transformer" / "config.json"):
        if place.is_file():
            return read_json(place)
    return {}


def read_encoder(
    path: str | os.PathLike[str], new_builder: Callable[[str], Any], *, weights: str = "auto"
) -> EncoderSource:
    """Reads a bert-family folder: with a classification head a cross-encoder, otherwise an embedding model.

    Raises:
        NotFound, InvalidModel: missing or damaged files.
        Unsupported: another architecture, pooling or module.
        InvalidArgument: `weights`.
    """
    pooling, folder, warnings = read_pooling(Path(path))
    checkpoint = open_checkpoint(folder)
    where = f"config.json of '{folder}'"
    config = Config(checkpoint.config, where)
    model_type = config.text("model_type")
    if model_type not in registry.ENCODERS:
        known = ", ".join(sorted(registry.ENCODERS))
        raise Unsupported(f"{where}: the encoder {model_type!r} is not supported; supported are {known}")
    module = importlib.import_module(f"ziggurat.formats.architectures.{registry.ENCODERS[model_type]}")
    sizes = module.SIZES(config)
    if sizes.hidden % sizes.heads or sizes.context < 1:
        raise InvalidModel(f"{where}: hidden size, heads and positions do not go together")
    ranks = any(name.startswith("classifier.") for name in checkpoint.tensors)
    labels = _labels(config, checkpoint.tensors) if ranks else 0
    builder = new_builder(model_type)
    store = Weights(builder, checkpoint.tensors, roots=module.ROOTS, probe=module.PROBE, form=weights)
    try:
        graph = module.build(Encoder(builder, store, config, sizes), None if ranks else pooling, labels)
    except InvalidArgument as error:
        raise InvalidModel(error.message, node=error.node, op=error.op, tensor=error.tensor) from None
    parameters, form = store.summary()
    spec = EncoderSpec(
        architecture=model_type,
        vocab=sizes.vocab,
        context=longest_text(Path(path), sizes.context),
        dimensions=sizes.hidden,
        labels=labels,
        pooling="" if ranks else pooling.kind,
        normalize=not ranks and pooling.normalize,
        parameters=parameters,
        weights=form,
    )
    return EncoderSource(graph, spec, str(folder), sizes.first, [] if ranks else warnings)


def _labels(config: Config, tensors: Any) -> int:
    for name in ("classifier.weight", "classifier.out_proj.weight"):
        if name in tensors and len(tensors[name].shape) == 2:
            return int(tensors[name].shape[0])
    raise InvalidModel(f"{config.where}: the classification head has no matrix", tensor="classifier.weight")
