"""A language model small enough for a test: random weights, a tokenizer trained here, a chat template.

Its residual stream carries a constant, which the output projection turns into a preference for some tokens whatever
the prompt is. So quotes and brackets close and texts end, as they do with models that have learnt something.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD, INNER = 64, 2, 4, 2, 16, 128
VOCAB, CONTEXT = 512, 2048
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# What a trained model would do, as preferences (added to logits of about ±1).
LIKES = {'"': 4.0, "}": 3.0, "]": 3.0, ",": 1.0, ":": 1.0, "<|im_end|>": 3.0, " ": -2.0, "\n": -3.0, "\t": -3.0}

TEXT = """The ziggurat stands in the plain, and from its steps one sees the river and the fields beyond it. Every brick
was carried up by hand; nobody knows how many there are. {"name": "Ur", "steps": 3, "stairs": [1, 2, 3], "holy": true}
A tower is built from below: "first the ground, then the house, then the sky", said the builder. Größe, naïve, 塔, 🙂.
"""

# As Qwen's and Hermes' templates: ChatML, tools as JSON in the system message, calls in <tool_call> tags.
TEMPLATE = """{%- if tools %}{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
{{- "# Tools\\n\\nYou are provided with function signatures within <tools></tools> XML tags:\\n<tools>" }}
{%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
{{- '\\n</tools>\\n\\nReturn each call as <tool_call>\\n{"name": <name>, "arguments": <object>}\\n</tool_call>' }}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- elif not (tools and loop.first and message.role == 'system') %}
{{- '<|im_start|>' + message.role + '\\n' + message.content }}
{%- for call in message.tool_calls or [] %}
{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}{{- call.function.arguments | tojson }}
{{- '}\\n</tool_call>' }}
{%- endfor %}{{- '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""


def write(folder: Path, seed: int = 0, likes: Mapping[str, float] | None = None, **config: Any) -> Path:
    """A folder as Hugging Face lays it out; `config` overrides keys of config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": None, "eos_token": "<|im_end|>", "chat_template": TEMPLATE}
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": CONTEXT}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    ends = [tokenizer.token_to_id(one) for one in ("<|im_end|>", "<|endoftext|>")]
    (folder / "config.json").write_text(json.dumps(_config(ends) | config), encoding="utf-8")
    weights = _weights(np.random.default_rng(seed), tokenizer, LIKES if likes is None else likes)
    safetensors.numpy.save_file(weights, str(folder / "model.safetensors"))
    return folder


def _tokenizer() -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT, TEMPLATE], trainer)
    return tokenizer


def _config(ends: list[int]) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCAB,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
        "intermediate_size": INNER,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "eos_token_id": ends,
        "torch_dtype": "float32",
    }


def _weights(
    numbers: np.random.Generator, tokenizer: tokenizers.Tokenizer, likes: Mapping[str, float]
) -> dict[str, np.ndarray]:
    def matrix(rows: int, columns: int, scale: float = 1.0) -> np.ndarray:
        return (numbers.standard_normal((rows, columns)) * scale / columns**0.5).astype(np.float32)

    embedding = matrix(VOCAB, HIDDEN, HIDDEN**0.5)
    embedding[:, 0] = 8.0  # the constant: about a half of what the last norm leaves
    head = matrix(VOCAB, HIDDEN)
    head[:, 0] = 0.0
    for text, liking in likes.items():
        (token,) = tokenizer.encode(text, add_special_tokens=False).ids
        head[token, 0] = liking / 5.5
    weights = {"model.embed_tokens.weight": embedding, "lm_head.weight": head, "model.norm.weight": _ones()}
    for layer in range(LAYERS):
        root = f"model.layers.{layer}."
        weights |= {f"{root}input_layernorm.weight": _ones(), f"{root}post_attention_layernorm.weight": _ones()}
        shapes = {"q": HEADS * HEAD, "k": KV_HEADS * HEAD, "v": KV_HEADS * HEAD}
        weights |= {f"{root}self_attn.{key}_proj.weight": matrix(rows, HIDDEN) for key, rows in shapes.items()}
        weights[f"{root}self_attn.o_proj.weight"] = _quiet(matrix(HIDDEN, HEADS * HEAD, 0.5))
        weights |= {f"{root}mlp.{key}_proj.weight": matrix(INNER, HIDDEN) for key in ("gate", "up")}
        weights[f"{root}mlp.down_proj.weight"] = _quiet(matrix(HIDDEN, INNER, 0.5))
    return weights


def _ones() -> np.ndarray:
    return np.ones(HIDDEN, np.float32)


def _quiet(matrix: np.ndarray) -> np.ndarray:
    """Leaves the constant alone."""
    matrix[0] = 0.0
    return matrix
