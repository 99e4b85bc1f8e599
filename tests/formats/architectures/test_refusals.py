"""Checkpoints that are incomplete, contradict themselves or ask for what is not there: typed errors that say what."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tests.formats.architectures.checkpoints import config_of, tensors_of, write_folder, write_gguf
from ziggurat.engine import GraphBuilder
from ziggurat.errors import InvalidArgument, InvalidModel, NotFound, Unsupported, ZigguratError
from ziggurat.formats.architectures import LanguageModelSource, read_language_model
from ziggurat.formats.architectures.encoder_reader import read_encoder


def read(path: Path, **options: Any) -> LanguageModelSource:
    return read_language_model(path, GraphBuilder, **options)


def folder(tmp_path: Path, case: str = "llama", drop: str | None = None, **changes: Any) -> Path:
    config = config_of(case)
    tensors = tensors_of(config)
    if drop is not None:
        del tensors[drop]
    return write_folder(tmp_path / "m", {**config, **changes}, tensors)


@pytest.mark.parametrize(
    ("changes", "kind", "expected"),
    [
        ({"model_type": "mamba"}, Unsupported, "'mamba' is not supported; supported are gemma2, .*llama"),
        ({"model_type": "bert"}, Unsupported, "is an encoder"),
        ({"model_type": None}, InvalidModel, "lacks 'model_type'"),
        ({"hidden_size": 95}, InvalidModel, r"embed_tokens.*has shape \[101, 96\], the configuration asks for"),
        ({"hidden_size": -1}, InvalidModel, "'hidden_size' is '-1', expected an integer from 1"),
        ({"hidden_size": "96"}, InvalidModel, "'hidden_size' is '96', expected an integer"),
        ({"hidden_size": True}, InvalidModel, "expected an integer"),
        ({"hidden_size": 1 << 60}, InvalidModel, "expected an integer"),
        ({"num_hidden_layers": 4}, InvalidModel, "layers.3.input_layernorm.weight': the checkpoint lacks this tensor"),
        ({"num_hidden_layers": 10**9}, InvalidModel, "'num_hidden_layers'"),
        ({"num_key_value_heads": 4}, InvalidModel, "6 attention heads are no multiple of 4"),
        ({"num_attention_heads": 0}, InvalidModel, "'num_attention_heads' is '0'"),
        ({"vocab_size": 100}, InvalidModel, r"has shape \[101, 96\]"),
        ({"intermediate_size": 161}, InvalidModel, "gate_proj"),
        ({"rms_norm_eps": "small"}, InvalidModel, "'rms_norm_eps'"),
        ({"rms_norm_eps": 1e999}, InvalidModel, "'rms_norm_eps'"),
        ({"hidden_act": "snake"}, Unsupported, "activation 'snake'; supported are silu"),
        ({"attention_bias": True}, InvalidModel, "q_proj.bias': the checkpoint lacks"),
        ({"rope_scaling": {"type": "spiral"}}, Unsupported, "'spiral'; supported are default, linear"),
        ({"rope_scaling": {"type": "linear"}}, InvalidModel, "lacks 'factor'"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, InvalidModel, "'factor' is '0'"),
        ({"rope_scaling": ["linear"]}, InvalidModel, "'rope_scaling'"),
        ({"rope_theta": 0.0}, InvalidModel, "'rope_theta'"),
        ({"partial_rotary_factor": 0.0}, InvalidModel, "'partial_rotary_factor'"),
        ({"eos_token_id": 101}, InvalidModel, "special token 101 is outside the vocabulary of 101"),
        ({"eos_token_id": "2"}, InvalidModel, "'eos_token_id'"),
    ],
)
def test_configurations_that_are_wrong(changes: dict[str, Any], kind: type, expected: str, tmp_path: Path) -> None:
    with pytest.raises(kind, match=expected):
        read(folder(tmp_path, **changes))


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"model.layers.1.mlp.up_proj.weight.*lacks this tensor.*\[160, 96\]"):
        read(folder(tmp_path, drop="model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(InvalidModel, match=r"lm_head.weight"):
        read(folder(tmp_path, drop="lm_head.weight"))


def test_tensors_that_nothing_uses_are_told(tmp_path: Path) -> None:
    config = config_of("llama")
    tensors = tensors_of(config) | {"model.layers.0.self_attn.rotary_emb.inv_freq": np.zeros(8, np.float32)}
    assert read(write_folder(tmp_path / "m", config, tensors)).warnings == []
    tensors["model.layers.0.adapter.weight"] = np.zeros(8, np.float32)
    (warning,) = read(write_folder(tmp_path / "m", config, tensors)).warnings
    assert "model.layers.0.adapter.weight" in warning


def test_integers_are_no_weights(tmp_path: Path) -> None:
    config = config_of("llama")
    tensors = tensors_of(config)
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"].astype(np.int8)
    with pytest.raises(Unsupported, match="elements of i8; supported are f32, f16, bf16"):
        read(write_folder(tmp_path / "m", config, tensors))


def test_places_that_are_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read(tmp_path / "nothing")
    with pytest.raises(InvalidModel, match=r"no config\.json and 0 GGUF"):
        read(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidModel, match=r"no model\.safetensors"):
        read(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(Unsupported, match="save them as safetensors"):
        read(tmp_path)
    save_file({"a": np.zeros(1)}, tmp_path / "model.safetensors")
    for text in ("[1]", "{", '{"a":' * 100_000, "\xff"):
        (tmp_path / "config.json").write_text(text, encoding="latin-1")
        with pytest.raises(InvalidModel, match=r"config\.json"):
            read(tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    config = config_of("llama")
    tensors = tensors_of(config)
    place = tmp_path / "m"
    write_folder(place, config, tensors)
    halves = (dict(list(tensors.items())[:9]), dict(list(tensors.items())[9:]))
    (place / "model.safetensors").unlink()
    places = {}
    for number, half in enumerate(halves, 1):
        name = f"model-{number:05d}-of-00002.safetensors"
        save_file(half, place / name)
        places |= dict.fromkeys(half, name)
    (place / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert read(place).warnings == []
    (place / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InvalidModel, match=r"model-00002-of-00002\.safetensors' of this checkpoint is missing"):
        read(place)


def test_options_that_make_no_sense(tmp_path: Path) -> None:
    place = folder(tmp_path)
    with pytest.raises(InvalidArgument, match=r"weights='int3'; expected one of auto, f32"):
        read(place, weights="int3")
    for context in (0, 65):
        with pytest.raises(InvalidArgument, match="this model has 1 to 64"):
            read(place, context=context)
    assert read(place, context=10).spec.context == 10


def test_longrope_has_its_original_length_unless_more_is_asked_for(tmp_path: Path) -> None:
    place = folder(tmp_path, "phi3")
    assert read(place).spec.context == 32
    assert read(place, context=64).spec.context == 64


def test_gguf_files_that_contradict_themselves(tmp_path: Path) -> None:
    config = config_of("llama")
    tensors = tensors_of(config)
    path = write_gguf(tmp_path / "m.gguf", {**config, "num_hidden_layers": 5}, tensors)
    with pytest.raises(InvalidModel, match=r"blk.3.attn_norm.weight': the checkpoint lacks this tensor"):
        read(path)
    path = write_gguf(tmp_path / "m.gguf", config, {k: v for k, v in tensors.items() if "embed" not in k})
    with pytest.raises(InvalidModel, match=r"token_embd\.weight"):
        read(path)


def test_blocks_are_not_quantised_again(tmp_path: Path) -> None:
    from gguf import GGMLQuantizationType as Kind

    config = config_of("llama")
    path = write_gguf(tmp_path / "m.gguf", config, tensors_of(config), Kind.Q8_0)
    assert read(path, weights="int8").spec.weights == "int8"
    with pytest.raises(Unsupported, match="is Q8_0 already"):
        read(path, weights="int4")


WORDS = ["llama", "linear", "yarn", "longrope", "dynamic", "llama3", "silu", "type", "factor", "full_attention", ""]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 200)
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=6,
)
KEYS = [
    *(
        "attention_bias",
        "head_dim",
        "hidden_act",
        "layer_types",
        "max_position_embeddings",
        "model_type",
        "rms_norm_eps",
    ),
    *(
        "num_attention_heads",
        "num_hidden_layers",
        "num_key_value_heads",
        "rope_parameters",
        "rope_scaling",
        "rope_theta",
    ),
    *("sliding_window", "tie_word_embeddings", "query_pre_attn_scalar", "final_logit_softcapping", "text_config"),
    *("partial_rotary_factor", "original_max_position_embeddings", "eos_token_id", "no_rope_layers", "short_factor"),
]


@pytest.mark.parametrize("case", ["llama", "gemma3", "phi3", "smollm3", "gpt2"])
def test_any_configuration_is_read_or_refused(case: str, tmp_path: Path) -> None:
    place = folder(tmp_path, case)

    @settings(max_examples=60, deadline=None)
    @given(changes=st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=3))
    def attempt(changes: dict[str, Any]) -> None:
        (place / "config.json").write_text(json.dumps({**config_of(case), **changes}))
        with contextlib.suppress(ZigguratError):
            read(place)

    attempt()


def test_encoders_of_other_kinds(tmp_path: Path) -> None:
    place = folder(tmp_path)
    with pytest.raises(Unsupported, match="encoder 'llama' is not supported; supported are bert"):
        read_encoder(place, GraphBuilder)
    (place / "modules.json").write_text(json.dumps([{"type": "a.Dense", "path": "2_Dense"}]))
    with pytest.raises(Unsupported, match="'Dense'"):
        read_encoder(place, GraphBuilder)
    (place / "modules.json").write_text(json.dumps([{"type": "a.Pooling", "path": "../.."}]))
    with pytest.raises(InvalidModel, match="leads elsewhere"):
        read_encoder(place, GraphBuilder)
