"""A Llama of two layers with random weights, and ways to run requests on it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from ziggurat.engine import Engine, Generator, GraphBuilder, Model, TokenEvent
from ziggurat.formats.architectures import read_language_model

VOCAB, HIDDEN, INNER, HEADS, KV_HEADS, CONTEXT, END = 160, 64, 96, 4, 2, 1024, 7
CONFIG = {
    "model_type": "llama",
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": END,
}


def write_checkpoint(folder: Path) -> Path:
    """A checkpoint whose logits spread enough that draws depend on the context."""
    random = np.random.default_rng(5)

    def weight(rows: int, columns: int) -> np.ndarray[Any, Any]:
        return (random.standard_normal((rows, columns)) * (1.6 / np.sqrt(columns))).astype(np.float32)

    width = HIDDEN // HEADS
    tensors = {
        "model.embed_tokens.weight": weight(VOCAB, HIDDEN),
        "model.norm.weight": np.full(HIDDEN, 2.0, np.float32),
        "lm_head.weight": weight(VOCAB, HIDDEN),
    }
    for layer in range(2):
        root = f"model.layers.{layer}."
        tensors |= {
            root + "input_layernorm.weight": np.ones(HIDDEN, np.float32),
            root + "post_attention_layernorm.weight": np.ones(HIDDEN, np.float32),
            root + "self_attn.q_proj.weight": weight(HIDDEN, HIDDEN),
            root + "self_attn.k_proj.weight": weight(KV_HEADS * width, HIDDEN),
            root + "self_attn.v_proj.weight": weight(KV_HEADS * width, HIDDEN),
            root + "self_attn.o_proj.weight": weight(HIDDEN, HIDDEN),
            root + "mlp.gate_proj.weight": weight(INNER, HIDDEN),
            root + "mlp.up_proj.weight": weight(INNER, HIDDEN),
            root + "mlp.down_proj.weight": weight(HIDDEN, INNER),
        }
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def make_generator(
    folder: Path,
    *,
    threads: int = 2,
    weights: str = "auto",
    blocks: int = 200,
    engine: Engine | None = None,
    **options: Any,
) -> Generator:
    """A generator of its own engine, or of the one given, over the checkpoint; a KV cache of so many blocks."""
    source = read_language_model(folder, GraphBuilder, weights=weights)
    spec = source.spec
    kv_dtype = options.pop("kv_dtype", "f32")
    element = {"f32": 4, "f16": 2, "bf16": 2, "int8": 1}[kv_dtype]
    block = 2 * 32 * spec.head_dim * element + (2 * 32 * 4 if kv_dtype == "int8" else 0)
    return Generator(
        Model(engine or Engine(threads=threads), source.graph),
        layers=spec.layers,
        kv_heads=spec.kv_heads,
        head_dim=spec.head_dim,
        vocab=spec.vocab,
        context=spec.context,
        eos=list(spec.eos_token_ids),
        kv_dtype=kv_dtype,
        kv_bytes=blocks * block * spec.layers * spec.kv_heads,
        **options,
    )


@dataclass
class Answer:
    """What one sequence was given; log probabilities as bits, so that equal means equal."""

    tokens: list[int] = field(default_factory=list)
    bits: list[int] = field(default_factory=list)
    finish: str | None = None

    def hear(self, event: TokenEvent) -> None:
        assert self.finish is None, "an event after the last"
        if event.token is not None:
            self.tokens.append(event.token)
        for value in [event.logprob, *(logprob for _, logprob in event.top or ())]:
            if value is not None:
                self.bits.append(int(np.float32(value).view(np.uint32)))
        self.finish = event.finish


Request = tuple[Sequence[int], dict[str, Any]]


def run(generator: Generator, requests: Sequence[Request]) -> list[Answer]:
    """All requests at once, to their ends; a request of n > 1 gives n answers."""
    ids = [generator.add(prompt, **options) for prompt, options in requests]
    answers: dict[tuple[int, int], Answer] = defaultdict(Answer)
    while (events := generator.step()) is not None:
        for event in events:
            assert event.error is None, event.error
            answers[event.request, event.index].hear(event)
    stats = generator.stats()
    assert stats["running"] == stats["waiting"] == stats["kv_blocks_used"] == 0
    return [
        answers[key, index]
        for key, (_, options) in zip(ids, requests, strict=True)
        for index in range(options.get("n", 1))
    ]


def prompt_of(length: int, seed: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(10, VOCAB, length)]
