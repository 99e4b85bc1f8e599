"""GGUF metadata in the words of a config.json, so that each architecture reads one kind of configuration.

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. What llama.cpp derives instead of storing (Gemma's
score scale, SmolLM3's layers without positions) is derived here likewise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ziggurat.errors import InvalidModel, Unsupported
from ziggurat.formats.architectures.config import Config
from ziggurat.formats.architectures.weights import plain_values
from ziggurat.formats.stored import StoredTensor

# config.json's key -> GGUF's, after "<architecture>."
_KEYS = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "layer_norm_epsilon": "attention.layer_norm_epsilon",
    "max_position_embeddings": "context_length",
    "sliding_window": "attention.sliding_window",
    "sliding_window_pattern": "attention.sliding_window_pattern",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "rope_theta": "rope.freq_base",
    "rope_local_base_freq": "rope.freq_base_swa",
    "original_max_position_embeddings": "rope.scaling.original_context_length",
}
_EOS_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")


def config_from_gguf(metadata: Mapping[str, Any], tensors: Mapping[str, StoredTensor], where: str) -> Config:
    """The configuration of a GGUF file.

    Raises:
        InvalidModel: metadata is missing or of the wrong kind.
        Unsupported: a mixture of experts, or layers that differ in size.
    """
    arch = metadata.get("general.architecture")
    if not isinstance(arch, str):
        raise InvalidModel(f"{where}: 'general.architecture' is missing")
    values: dict[str, Any] = {"model_type": arch}
    for ours, theirs in _KEYS.items():
        values[ours] = _uniform(metadata.get(f"{arch}.{theirs}"), f"{arch}.{theirs}", where)
    if metadata.get(f"{arch}.expert_count"):
        raise Unsupported(f"{where}: a mixture of experts is not supported")
    values["vocab_size"] = _vocab(metadata, tensors, where)
    values["attention_bias"] = "blk.0.attn_q.bias" in tensors
    values["attention_output_bias"] = "blk.0.attn_output.bias" in tensors
    values["mlp_bias"] = "blk.0.ffn_up.bias" in tensors and arch != "gpt2"
    values["use_sliding_window"] = False
    config = Config(values, where)
    values["rope_scaling"] = _rope_scaling(config, metadata, tensors, arch)
    values["partial_rotary_factor"] = _rotated_part(config, metadata.get(f"{arch}.rope.dimension_count"))
    values.update(_tokens(metadata))
    if arch in ("gemma2", "gemma3"):
        values.update(_gemma(config, arch))
    return Config(values, where)


def _uniform(value: Any, key: str, where: str) -> Any:
    """Some keys may hold a number for each layer; only equal ones are supported."""
    if not isinstance(value, list):
        return value
    if not value or any(one != value[0] for one in value):
        raise Unsupported(f"{where}: '{key}' differs from layer to layer")
    return value[0]


def _vocab(metadata: Mapping[str, Any], tensors: Mapping[str, StoredTensor], where: str) -> int:
    table = tensors.get("token_embd.weight")
    if table is None or len(table.shape) != 2:
        raise InvalidModel(f"{where}: the file lacks this matrix", tensor="token_embd.weight")
    tokens = metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, list) and len(tokens) != table.shape[0]:
        raise InvalidModel(
            f"{where}: the tokenizer has {len(tokens)} tokens, the embeddings have {table.shape[0]} rows"
        )
    return table.shape[0]


def _rope_scaling(
    config: Config, metadata: Mapping[str, Any], tensors: Mapping[str, StoredTensor], arch: str
) -> dict[str, Any]:
    scaling: dict[str, Any] = {"rope_type": "default"}
    kind = metadata.get(f"{arch}.rope.scaling.type", "none")
    factor = metadata.get(f"{arch}.rope.scaling.factor", metadata.get(f"{arch}.rope.scale_linear"))
    if kind == "linear" or (kind == "none" and factor not in (None, 0.0, 1.0)):
        scaling = {"rope_type": "linear", "factor": factor}
    elif kind == "yarn":
        scaling = {"rope_type": "yarn", "factor": factor, **_yarn(metadata, f"{arch}.rope.scaling.")}
    elif kind not in ("none", "longrope"):
        raise Unsupported(f"{config.where}: RoPE scaling {kind!r}; supported are none, linear, yarn, longrope")
    if "rope_factors_short.weight" in tensors:
        scaling = {
            "rope_type": "longrope",
            "short_factor": _numbers(tensors, "rope_factors_short.weight"),
            "long_factor": _numbers(tensors, "rope_factors_long.weight"),
            "attention_factor": metadata.get(f"{arch}.rope.scaling.attn_factor"),
        }
    if "rope_freqs.weight" in tensors:
        scaling["factors"] = _numbers(tensors, "rope_freqs.weight")
    return scaling


def _yarn(metadata: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    values = {
        "beta_fast": metadata.get(f"{prefix}yarn_beta_fast"),
        "beta_slow": metadata.get(f"{prefix}yarn_beta_slow"),
    }
    extra, factor = metadata.get(f"{prefix}attn_factor"), metadata.get(f"{prefix}factor")
    if isinstance(extra, float) and isinstance(factor, float) and factor > 1:
        values["attention_factor"] = extra * (1.0 + 0.1 * math.log(factor))
    return values


def _numbers(tensors: Mapping[str, StoredTensor], name: str) -> list[float]:
    stored = tensors.get(name)
    if stored is None or stored.elements > 1 << 16:
        raise InvalidModel("expected a short vector of RoPE factors", tensor=name)
    return [float(one) for one in plain_values(stored, 0, stored.elements)]


def _rotated_part(config: Config, rotated: Any) -> float:
    heads = config.integer("num_attention_heads")
    size = config.integer("head_dim", config.integer("hidden_size") // heads)
    return rotated / size if isinstance(rotated, int) and 0 < rotated <= size else 1.0


def _tokens(metadata: Mapping[str, Any]) -> dict[str, Any]:
    ends = [metadata.get(f"tokenizer.ggml.{key}") for key in _EOS_KEYS]
    return {
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": sorted({one for one in ends if isinstance(one, int)}),
    }


def _gemma(config: Config, arch: str) -> dict[str, Any]:
    """The largest of each family scales scores by the share of the width that a head has, the others by its size."""
    heads, layers = config.integer("num_attention_heads"), config.integer("num_hidden_layers")
    largest = {"gemma2": 46, "gemma3": 62}[arch]
    size = config.integer("hidden_size") // heads if layers == largest else config.integer("head_dim", 256)
    values: dict[str, Any] = {"query_pre_attn_scalar": size, "attention_bias": False}
    if arch == "gemma2":
        values["sliding_window"] = config.integer("sliding_window", 4096)
    return values
