"""Every architecture against transformers in float32: tiny models with random weights, odd sizes, every RoPE scaling,
windows shorter than the sequence; whole and token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.formats.architectures.stepping import apart, logits

pytestmark = pytest.mark.heavy

VOCAB, CONTEXT = 99, 64
IDS = np.random.default_rng(1).integers(0, VOCAB, 45).tolist()
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 60,
    "intermediate_size": 84,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 24, "sliding_window": 7}


def rope(kind: str, **parameters: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 5000.0, **parameters}}


LONGROPE = {
    "short_factor": [1.0, 1.1, 1.2],
    "long_factor": [2.0, 3.0, 4.0],
    "partial_rotary_factor": 0.6,
}
# name -> configuration class, model class, sizes, options of the loader
CASES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "llama": ("LlamaConfig", "LlamaForCausalLM", {}, {}),
    "llama without groups": ("LlamaConfig", "LlamaForCausalLM", {"num_key_value_heads": 6, "head_dim": 14}, {}),
    "llama with biases, tied": (
        "LlamaConfig",
        "LlamaForCausalLM",
        {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
        {},
    ),
    "llama 3 scaling": (
        "LlamaConfig",
        "LlamaForCausalLM",
        rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32),
        {},
    ),
    "linear scaling": ("LlamaConfig", "LlamaForCausalLM", rope("linear", factor=4.0), {}),
    "dynamic scaling": ("LlamaConfig", "LlamaForCausalLM", rope("dynamic", factor=4.0), {}),
    "yarn": ("LlamaConfig", "LlamaForCausalLM", rope("yarn", factor=4.0, original_max_position_embeddings=16), {}),
    "yarn, all options": (
        "LlamaConfig",
        "LlamaForCausalLM",
        rope(
            "yarn",
            factor=4.0,
            original_max_position_embeddings=16,
            beta_fast=8.0,
            beta_slow=2.0,
            truncate=False,
            mscale=0.7,
            mscale_all_dim=0.4,
        ),
        {},
    ),
    "mistral": ("MistralConfig", "MistralForCausalLM", {"sliding_window": 9, "head_dim": 16}, {}),
    "mistral without window": ("MistralConfig", "MistralForCausalLM", {"sliding_window": None}, {}),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", {}, {}),
    "qwen2 with windows": (
        "Qwen2Config",
        "Qwen2ForCausalLM",
        {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1},
        {},
    ),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", {"head_dim": 16, "attention_bias": True}, {}),
    "gemma2": (
        "Gemma2Config",
        "Gemma2ForCausalLM",
        {**GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
        {},
    ),
    "gemma3": (
        "Gemma3TextConfig",
        "Gemma3ForCausalLM",
        {
            **GEMMA,
            "num_hidden_layers": 7,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        },
        {},
    ),
    "phi3": ("Phi3Config", "Phi3ForCausalLM", {"sliding_window": 9}, {}),
    "phi3 longrope, original length": (
        "Phi3Config",
        "Phi3ForCausalLM",
        {"original_max_position_embeddings": 50, **rope("longrope", **LONGROPE)},
        {},
    ),
    "phi3 longrope, beyond it": (
        "Phi3Config",
        "Phi3ForCausalLM",
        {"original_max_position_embeddings": 32, **rope("longrope", **LONGROPE)},
        {"context": CONTEXT},
    ),
    "smollm3": ("SmolLM3Config", "SmolLM3ForCausalLM", {"num_hidden_layers": 5}, {}),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", {}, {}),
    "gpt2 with another activation": ("GPT2Config", "GPT2LMHeadModel", {"activation_function": "gelu"}, {}),
}


@pytest.fixture(autouse=True)
def _torch() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("transformers", reason="transformers is not installed")


def make(case: str, folder: Path) -> Any:
    """Saves the model of a case and returns it. Weights are spread so that attention and soft caps matter."""
    import torch
    import transformers

    config_class, model_class, changes, _ = CASES[case]
    sizes = SIZES
    if config_class == "GPT2Config":
        sizes = {"vocab_size": VOCAB, "n_embd": 60, "n_layer": 3, "n_head": 6, "n_positions": CONTEXT}
        sizes |= {"bos_token_id": 1, "eos_token_id": 2}
    config = getattr(transformers, config_class)(**{**sizes, **changes})
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    model = getattr(transformers, model_class)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.1 * torch.randn_like(parameter)
            else:
                parameter *= 5
    model.save_pretrained(folder)
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_logits_agree_whole_and_step_by_step(case: str, tmp_path: Path) -> None:
    import torch

    model = make(case, tmp_path)
    options = CASES[case][3]
    with torch.no_grad():
        want = model(torch.tensor([IDS])).logits[0].numpy()
    assert apart(logits(tmp_path, IDS, **options), want) < 1e-4
    assert apart(logits(tmp_path, IDS, chunks=[1] * len(IDS), **options), want) < 1e-4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_checkpoints_compute_in_float32(dtype: str, tmp_path: Path) -> None:
    import torch
    import transformers

    make("qwen3", tmp_path / "wide").to(getattr(torch, dtype)).save_pretrained(tmp_path / "m", max_shard_size="40KB")
    assert len(list((tmp_path / "m").glob("*.safetensors"))) > 2
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.float32).eval()
    with torch.no_grad():
        want = model(torch.tensor([IDS])).logits[0].numpy()
    assert apart(logits(tmp_path / "m", IDS), want) < 1e-4


@pytest.mark.filterwarnings("ignore")
def test_names_without_root_and_configurations_of_old_form(tmp_path: Path) -> None:
    """As the first GPT-2 and Llama checkpoints were saved."""
    import json

    import torch
    from safetensors.numpy import load_file, save_file

    for case, root in (("llama", "model."), ("gpt2", "transformer.")):
        folder = tmp_path / case
        model = make(case, folder)
        tensors = {name.removeprefix(root): array for name, array in load_file(folder / "model.safetensors").items()}
        save_file(tensors, folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_text())
        if case == "llama":
            config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
            config["rope_scaling"] = None
        (folder / "config.json").write_text(json.dumps(config))
        with torch.no_grad():
            want = model(torch.tensor([IDS])).logits[0].numpy()
        assert apart(logits(folder, IDS), want) < 1e-4
