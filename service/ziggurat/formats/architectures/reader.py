"""read_language_model: a checkpoint becomes a decoder graph and what a generator must know of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ziggurat.errors import InvalidArgument, InvalidModel
from ziggurat.formats.architectures import registry
from ziggurat.formats.architectures.checkpoint import Checkpoint, open_checkpoint
from ziggurat.formats.architectures.config import Config
from ziggurat.formats.architectures.decoder import Decoder
from ziggurat.formats.architectures.gguf_config import config_from_gguf
from ziggurat.formats.architectures.sizes import Sizes
from ziggurat.formats.architectures.weights import Weights
from ziggurat.types import LanguageModelSpec

# Of tensors that no graph needs: masks and frequencies that old versions of transformers saved, and GGUF's factors,
# which the configuration has taken in.
_IDLE_ENDINGS = (".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", "rope_freqs.weight", "lm_head.weight")
_IDLE_PARTS = ("rope_factors_", "vision_tower.", "multi_modal_projector.")


@dataclass(frozen=True)
class LanguageModelSource:
    """Attributes:
    graph: what the builder's finish() gave.
    spec: what a generator must know.
    path: the folder or file that was read.
    metadata: a GGUF file's, with its vocabulary; None for a folder, which has tokenizer files.
    warnings: for the user to see; the model runs.
    """

    graph: Any
    spec: LanguageModelSpec
    path: str
    metadata: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)


def read_language_model(
    path: str | os.PathLike[str],
    new_builder: Callable[[str], Any],
    *,
    weights: str = "auto",
    context: int | None = None,
) -> LanguageModelSource:
    """Reads a Hugging Face folder or a GGUF file.

    Args:
        new_builder: makes an empty graph of a name; `ziggurat._native.GraphBuilder`.
        weights: "auto" keeps each matrix as the file has it; "f32", "bf16", "int8", "int4" convert.
        context: most tokens of a sequence. Default: what the configuration says; for LongRoPE its original length,
            with the frequencies for it. More is an error unless the RoPE scaling provides for it.

    Raises:
        NotFound, InvalidModel: missing, damaged or contradicting files; names file, tensor and what was expected.
        Unsupported: an architecture, encoding or option that this build does not have; lists those it has.
        InvalidArgument: `weights` or `context`.
    """
    checkpoint = open_checkpoint(path)
    config, where = _config(checkpoint)
    model_type = config.text("model_type")
    module = registry.find(model_type, where)
    sizes = module.SIZES(config)
    length = _context(config, sizes, context)
    from_gguf = checkpoint.metadata is not None
    builder = new_builder(model_type)
    store = Weights(
        builder,
        checkpoint.tensors,
        names=module.GGUF if from_gguf else None,
        roots=getattr(module, "ROOTS", registry.ROOTS),
        probe=getattr(module, "PROBE", registry.PROBE),
        form=weights,
    )
    net = Decoder(builder, store, config, sizes, context=length, from_gguf=from_gguf)
    try:
        graph = module.build(net)
    except InvalidArgument as error:
        # The builder's arithmetic does not know that its arguments came from a file.
        raise InvalidModel(error.message, node=error.node, op=error.op, tensor=error.tensor) from None
    spec = _spec(model_type, checkpoint, net)
    return LanguageModelSource(graph, spec, checkpoint.path, checkpoint.metadata, _warnings(store))


def _config(checkpoint: Checkpoint) -> tuple[Config, str]:
    if checkpoint.metadata is not None:
        where = f"metadata of '{checkpoint.path}'"
        return config_from_gguf(checkpoint.metadata, checkpoint.tensors, where), where
    where = f"config.json of '{checkpoint.path}'"
    config = Config(checkpoint.config, where)
    if config.has("text_config"):  # a multimodal checkpoint: its language model
        text = config.section("text_config")
        outer = config.text("model_type", "")
        config = text.with_values(model_type=text.text("model_type", f"{outer}_text"))
    return config, where


def _context(config: Config, sizes: Sizes, wanted: int | None) -> int:
    scaling = config.section("rope_parameters") if config.has("rope_parameters") else config.section("rope_scaling")
    kind = scaling.text("rope_type", scaling.text("type", "default"))
    longest = sizes.context
    if kind == "dynamic":
        longest = int(longest * scaling.number("factor", 1.0, least=1.0, most=1e4))
    default = sizes.context
    if kind in ("longrope", "su") or (kind == "yarn" and scaling.has("long_factor")):
        original = scaling.integer("original_max_position_embeddings", sizes.context)
        default = min(default, config.integer("original_max_position_embeddings", original))
    if wanted is None:
        return default
    if not 1 <= wanted <= longest:
        raise InvalidArgument(f"context={wanted}; this model has 1 to {longest}")
    return wanted


def _spec(model_type: str, checkpoint: Checkpoint, net: Decoder) -> LanguageModelSpec:
    config, sizes = net.config, net.sizes
    generation = Config(checkpoint.generation, f"generation_config.json of '{checkpoint.path}'")
    ends = generation.token_ids("eos_token_id") or config.token_ids("eos_token_id")
    starts = config.token_ids("bos_token_id") or generation.token_ids("bos_token_id")
    for token in (*ends, *starts):
        if token >= sizes.vocab:
            raise InvalidModel(f"{config.where}: the special token {token} is outside the vocabulary of {sizes.vocab}")
    parameters, weights = net.weights.summary()
    return LanguageModelSpec(
        architecture=model_type,
        vocab=sizes.vocab,
        context=net.context,
        layers=sizes.layers,
        heads=sizes.heads,
        kv_heads=sizes.kv_heads,
        head_dim=sizes.head_dim,
        hidden=sizes.hidden,
        parameters=parameters,
        weights=weights,
        bos_token_id=starts[0] if starts else None,
        eos_token_ids=ends,
        sliding_window=min(net.windows, default=None),
    )


def _warnings(store: Weights) -> list[str]:
    idle = [
        name
        for name in store.unused()
        if not name.endswith(_IDLE_ENDINGS) and not any(part in name for part in _IDLE_PARTS)
    ]
    if not idle:
        return []
    shown = ", ".join(idle[:5]) + (" and others" if len(idle) > 5 else "")
    return [f"{len(idle)} tensors of the checkpoint are not used: {shown}"]
