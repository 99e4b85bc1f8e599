"""What sentence-transformers keeps beside an encoder: its modules, pooling, and the longest text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ziggurat.errors import InvalidModel, Unsupported
from ziggurat.formats.architectures.checkpoint import read_json
from ziggurat.formats.architectures.encoder import Pooling
from ziggurat.formats.source import FileSource

MAX_BYTES = 1 << 20
_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}
_OTHER_MODES = ("pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens")


def read_pooling(folder: Path) -> tuple[Pooling, Path, list[str]]:
    """How to pool, the folder of the encoder itself, and warnings.

    Raises:
        InvalidModel: modules.json or what it names is damaged.
        Unsupported: it has modules other than an encoder, pooling and normalisation.
    """
    modules = folder / "modules.json"
    if not modules.exists():
        return Pooling(), folder, ["no modules.json: embeddings are means over the tokens, not normalised"]
    encoder, pooling, normalize = folder, None, False
    for module in _modules(modules):
        kind, place = module["type"].rpartition(".")[2], _inside(folder, module["path"])
        if kind == "Transformer":
            encoder = place
        elif kind == "Pooling":
            pooling = _pooling(place / "config.json")
        elif kind == "Normalize":
            normalize = True
        else:
            raise Unsupported(
                f"'{modules}': modules of type {kind[:60]!r}; supported are Transformer, Pooling, Normalize"
            )
    if pooling is None:
        raise Unsupported(f"'{modules}' has no Pooling module")
    return Pooling(pooling, normalize), encoder, []


def longest_text(folder: Path, context: int) -> int:
    """Where sentence-transformers cuts texts: at most `context` tokens."""
    path = folder / "sentence_bert_config.json"
    wanted = read_json(path).get("max_seq_length") if path.exists() else None
    return min(context, wanted) if isinstance(wanted, int) and wanted > 2 else context


def _modules(path: Path) -> list[dict[str, Any]]:
    with FileSource(path) as source:
        if source.size > MAX_BYTES:
            raise InvalidModel(f"'{path}' has {source.size} bytes, the limit is {MAX_BYTES}")
        try:
            modules = json.loads(source.read(0, source.size).decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise InvalidModel(f"'{path}' is not valid JSON: {str(error)[:200]}") from None
    if not isinstance(modules, list) or not all(
        isinstance(one, dict) and isinstance(one.get("type"), str) and isinstance(one.get("path"), str)
        for one in modules
    ):
        raise InvalidModel(f"'{path}': expected a list of modules, each with type and path")
    return modules


def _inside(folder: Path, path: str) -> Path:
    if "/" in path or "\\" in path or path == ".." or "\0" in path:
        raise InvalidModel(f"'{folder / 'modules.json'}': the path {path[:60]!r} leads elsewhere")
    return folder / path


def _pooling(path: Path) -> str:
    config = read_json(path)
    mode = config.get("pooling_mode")
    if isinstance(mode, str):
        return {"lasttoken": "last"}.get(mode, mode)
    modes = [name for key, name in _MODES.items() if config.get(key) is True]
    others = [key for key in _OTHER_MODES if config.get(key) is True]
    if len(modes) != 1 or others:
        raise Unsupported(f"'{path}': pools by {modes + others}; supported is one of {', '.join(_MODES.values())}")
    return modes[0]
