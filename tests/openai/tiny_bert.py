"""An encoder small enough for a test: random weights in bert's names, a WordPiece vocabulary of what the tests say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors

HIDDEN, LAYERS, HEADS, INNER, CONTEXT = 32, 2, 2, 64, 64
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *["the", "river", "tower", "stands", "in", "plain", "brick", "by", "a", "stone", "of", "bread", "is", "baked"],
]
WORDS += [chr(code) for code in range(97, 123)] + [f"##{chr(code)}" for code in range(97, 123)]
WORDS = list(dict.fromkeys(WORDS))


def write(folder: Path, ranks: bool = False, seed: int = 0) -> Path:
    """An embedding model, or a cross-encoder with one score."""
    folder.mkdir(parents=True, exist_ok=True)
    _tokenizer().save(str(folder / "tokenizer.json"))
    special = {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(special), encoding="utf-8")
    config: dict[str, Any] = {"model_type": "bert", "vocab_size": len(WORDS), "hidden_size": HIDDEN}
    config |= {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INNER}
    config |= {"max_position_embeddings": CONTEXT, "type_vocab_size": 2, "hidden_act": "gelu"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    weights = _weights(np.random.default_rng(seed), ranks)
    safetensors.numpy.save_file(weights, str(folder / "model.safetensors"))
    return folder


def _tokenizer() -> tokenizers.Tokenizer:
    vocab = {word: at for at, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.add_special_tokens(WORDS[:4])
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
    )
    return tokenizer


def _weights(numbers: np.random.Generator, ranks: bool) -> dict[str, np.ndarray]:
    weights: dict[str, np.ndarray] = {}

    def matrix(name: str, rows: int, columns: int, bias: bool = True) -> None:
        weights[f"{name}.weight"] = (numbers.standard_normal((rows, columns)) / columns**0.5).astype(np.float32)
        if bias:
            weights[f"{name}.bias"] = (numbers.standard_normal(rows) * 0.1).astype(np.float32)

    def norm(name: str) -> None:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = np.ones(HIDDEN, np.float32), np.zeros(HIDDEN, np.float32)

    root = "bert." if ranks else ""
    for name, rows in (("word", len(WORDS)), ("position", CONTEXT), ("token_type", 2)):
        matrix(f"{root}embeddings.{name}_embeddings", rows, HIDDEN, bias=False)
    norm(f"{root}embeddings.LayerNorm")
    for layer in range(LAYERS):
        place = f"{root}encoder.layer.{layer}"
        for name in ("query", "key", "value"):
            matrix(f"{place}.attention.self.{name}", HIDDEN, HIDDEN)
        matrix(f"{place}.attention.output.dense", HIDDEN, HIDDEN)
        matrix(f"{place}.intermediate.dense", INNER, HIDDEN)
        matrix(f"{place}.output.dense", HIDDEN, INNER)
        norm(f"{place}.attention.output.LayerNorm")
        norm(f"{place}.output.LayerNorm")
    if ranks:
        matrix("bert.pooler.dense", HIDDEN, HIDDEN)
        matrix("classifier", 1, HIDDEN)
    return weights
