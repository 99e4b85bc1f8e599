"""Tiny checkpoints with random weights, without torch: configurations and tensors as transformers names them, and the
same as GGUF, changed the way that llama.cpp's converter changes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from safetensors.numpy import save_file

Tensors = dict[str, np.ndarray[Any, Any]]

VOCAB, HIDDEN, FFN, HEADS, KV_HEADS, CONTEXT = 101, 96, 160, 6, 2, 64
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "intermediate_size": FFN,
    "num_hidden_layers": 3,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GEMMA = {
    "head_dim": 16,
    "query_pre_attn_scalar": 16,
    "hidden_activation": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
    "sliding_window": 5,
    "rms_norm_eps": 1e-6,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {**SIZES, "rope_theta": 5000.0},
    "llama tied": {**SIZES, "model_type": "llama", "tie_word_embeddings": True},
    "llama linear": {**SIZES, "model_type": "llama", "rope_scaling": {"type": "linear", "factor": 4.0}},
    "llama yarn": {
        **SIZES,
        "model_type": "llama",
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
    },
    "qwen2": {**SIZES, "rope_theta": 1e6},
    "qwen3": {**SIZES, "head_dim": 24},
    "gemma2": {**SIZES, **GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
    "gemma3": {
        **SIZES,
        **GEMMA,
        "model_type": "gemma3_text",
        "num_hidden_layers": 7,
        "rope_theta": 1e6,
        "rope_local_base_freq": 10000.0,
    },
    "phi3": {
        **SIZES,
        "partial_rotary_factor": 0.75,
        "sliding_window": 7,
        "original_max_position_embeddings": 32,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
            "long_factor": [2.0, 2.5, 3.0, 3.5, 4.0, 4.5],
        },
    },
    "smollm3": {**SIZES, "num_hidden_layers": 5},
    "gpt2": {
        "vocab_size": VOCAB,
        "n_embd": HIDDEN,
        "n_layer": 2,
        "n_head": HEADS,
        "n_positions": CONTEXT,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
}


def config_of(case: str) -> dict[str, Any]:
    return {"model_type": case, **CONFIGS[case]}


def tensors_of(config: dict[str, Any], seed: int = 0) -> Tensors:
    """Random weights: what transformers saves for this configuration."""
    random = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray[Any, Any]:
        spread = 0.1 if len(shape) == 1 else 1.5 / shape[-1] ** 0.5
        values: np.ndarray[Any, Any] = random.standard_normal(shape, dtype=np.float32) * np.float32(spread)
        return values

    def norm(size: int) -> np.ndarray[Any, Any]:
        one = 0 if config["model_type"].startswith("gemma") else 1
        values: np.ndarray[Any, Any] = draw(size) + np.float32(one)
        return values

    if config["model_type"] == "gpt2":
        return _gpt2(config, draw, norm)
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim", hidden // config["num_attention_heads"])
    q, kv = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    kind = config["model_type"]
    tensors = {"model.embed_tokens.weight": draw(config["vocab_size"], hidden), "model.norm.weight": norm(hidden)}
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = draw(config["vocab_size"], hidden)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        norms = ["input_layernorm", "post_attention_layernorm"]
        if kind.startswith("gemma"):
            norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
        tensors |= {f"{layer}{name}.weight": norm(hidden) for name in norms}
        if kind == "phi3":
            tensors[f"{layer}self_attn.qkv_proj.weight"] = draw(q + 2 * kv, hidden)
            tensors[f"{layer}mlp.gate_up_proj.weight"] = draw(2 * ffn, hidden)
        else:
            for name, width in (("q", q), ("k", kv), ("v", kv)):
                tensors[f"{layer}self_attn.{name}_proj.weight"] = draw(width, hidden)
                if kind == "qwen2":
                    tensors[f"{layer}self_attn.{name}_proj.bias"] = draw(width)
            tensors[f"{layer}mlp.gate_proj.weight"] = draw(ffn, hidden)
            tensors[f"{layer}mlp.up_proj.weight"] = draw(ffn, hidden)
        if kind in ("qwen3", "gemma3_text"):
            tensors |= {f"{layer}self_attn.{name}_norm.weight": norm(head) for name in "qk"}
        tensors[f"{layer}self_attn.o_proj.weight"] = draw(hidden, q)
        tensors[f"{layer}mlp.down_proj.weight"] = draw(hidden, ffn)
    return tensors


def _gpt2(config: dict[str, Any], draw: Callable[..., Any], norm: Callable[[int], Any]) -> Tensors:
    hidden = config["n_embd"]
    tensors = {"transformer.wte.weight": draw(config["vocab_size"], hidden)}
    tensors["transformer.wpe.weight"] = draw(config["n_positions"], hidden)
    places = ["transformer.ln_f"]
    for i in range(config["n_layer"]):
        layer = f"transformer.h.{i}."
        places += [f"{layer}ln_1", f"{layer}ln_2"]
        for name, inner, outer in (
            ("attn.c_attn", hidden, 3 * hidden),
            ("attn.c_proj", hidden, hidden),
            ("mlp.c_fc", hidden, 4 * hidden),
            ("mlp.c_proj", 4 * hidden, hidden),
        ):
            tensors[f"{layer}{name}.weight"] = draw(outer, inner).T.copy()
            tensors[f"{layer}{name}.bias"] = draw(outer)
    for place in places:
        tensors |= {f"{place}.weight": norm(hidden), f"{place}.bias": draw(hidden)}
    return tensors


def write_folder(folder: Path, config: dict[str, Any], tensors: Tensors) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    return folder


# --- the same as GGUF ---------------------------------------------------------------------------------------------

_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
_GEMMA_LAYER = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
_TOP = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
}


def gguf_arch(config: dict[str, Any]) -> str:
    return {"gemma3_text": "gemma3", "mistral": "llama"}.get(config["model_type"], config["model_type"])


def gguf_name(arch: str, name: str) -> str:
    path, _, end = name.rpartition(".")
    if path in _TOP:
        return f"{_TOP[path]}.{end}"
    _, _, number, rest = path.split(".", 3)
    words = {**_LAYER, **(_GEMMA_LAYER if arch.startswith("gemma") else {})}
    return f"blk.{number}.{words[rest]}.{end}"


def neighbours(array: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Rows of each head so that the two halves of a rotated pair are neighbours."""
    halves = array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
    return halves.swapaxes(1, 2).reshape(array.shape)


def converted(config: dict[str, Any], tensors: Tensors) -> Tensors:
    """The tensors of a GGUF file with these weights."""
    arch, out = gguf_arch(config), {}
    for name, given in tensors.items():
        array = given
        if arch in ("llama", "smollm3") and ".q_proj." in name:
            array = neighbours(array, config["num_attention_heads"])
        if arch in ("llama", "smollm3") and ".k_proj." in name:
            array = neighbours(array, config["num_key_value_heads"])
        if arch.startswith("gemma") and name.endswith("norm.weight"):
            array = array + np.float32(1)
        if arch == "gpt2" and ".c_" in name and array.ndim == 2:
            array = array.T
        out[gguf_name(arch, name)] = np.ascontiguousarray(array)
    scaling = config.get("rope_scaling", {})
    for key in ("short_factor", "long_factor"):
        if key in scaling:
            out[f"rope_factors_{key[: key.index('_')]}.weight"] = np.array(scaling[key], np.float32)
    return out


def write_gguf(
    path: Path,
    config: dict[str, Any],
    tensors: Tensors,
    kind: Kind = Kind.F32,
    vocabulary: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a GGUF file; matrices as `kind` where their rows are whole blocks, else as float16. `vocabulary`: keys and
    values of tests.text.vocabularies."""
    arch = gguf_arch(config)
    writer = gguf.GGUFWriter(path, arch)
    _write_sizes(writer, config)
    for key, value in (vocabulary or {}).items():
        if key.endswith("_token_id"):
            continue  # the configuration's
        kind_of = gguf.GGUFValueType.get_type(value)
        writer.add_key_value(key, value, kind_of)
    block = gguf.GGML_QUANT_SIZES[kind][0]
    for name, array in converted(config, tensors).items():
        wanted = Kind.F32 if array.ndim == 1 else kind if array.shape[-1] % block == 0 else Kind.F16
        writer.add_tensor(name, gguf.quants.quantize(array, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_sizes(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    heads = config.get("num_attention_heads", config.get("n_head"))
    hidden = config.get("hidden_size", config.get("n_embd"))
    writer.add_context_length(config.get("max_position_embeddings", config.get("n_positions")))
    writer.add_embedding_length(hidden)
    writer.add_block_count(config.get("num_hidden_layers", config.get("n_layer")))
    writer.add_feed_forward_length(config.get("intermediate_size", 4 * hidden))
    writer.add_head_count(heads)
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    if config["model_type"] == "gpt2":
        writer.add_layer_norm_eps(1e-5)
        return
    head = config.get("head_dim", hidden // heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(int(head * config.get("partial_rotary_factor", 1.0)))
    writer.add_rope_freq_base(config.get("rope_theta", 2e6 if config["model_type"] == "smollm3" else 10000.0))
    for key, add in (
        ("sliding_window", writer.add_sliding_window),
        ("attn_logit_softcapping", writer.add_attn_logit_softcapping),
        ("final_logit_softcapping", writer.add_final_logit_softcapping),
    ):
        if key in config:
            add(config[key])
    _write_scaling(writer, config)


def _write_scaling(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    scaling = config.get("rope_scaling", {})
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(scaling["factor"])
    if kind in ("yarn", "longrope"):
        writer.add_rope_scaling_orig_ctx_len(
            scaling.get("original_max_position_embeddings", config.get("original_max_position_embeddings"))
        )
