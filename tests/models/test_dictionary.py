"""The language model that ships: its golden continuations, its size, and what fewer bits cost it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ziggurat

FOLDER = Path(__file__).parents[2] / "models" / "dictionary"
GOLDEN: list[dict[str, Any]] = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def exact() -> Iterator[Any]:
    with ziggurat.load_llm(FOLDER, weights="f32", kv_cache="f32") as model:
        yield model


def log_probabilities(model: Any, tokens: list[int]) -> np.ndarray:
    logits = model.forward(tokens).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def continuation(model: Any, prompt: list[int], count: int) -> list[int]:
    return [event.token for event in model.generate(prompt, max_tokens=count, temperature=0.0)]


@pytest.mark.parametrize("entry", GOLDEN, ids=[entry["question"] for entry in GOLDEN])
def test_continuations_are_those_of_transformers(exact: Any, entry: dict[str, Any]) -> None:
    assert continuation(exact, entry["prompt"], 64) == entry["tokens"]


def test_answers_are_readable(exact: Any) -> None:
    entry = next(one for one in GOLDEN if one["question"] == "What is a lighthouse?")
    assert re.fullmatch(r"The word lighthouse means a tower with a light .*\.", entry["text"].replace("<|im_end|>", ""))


# Mean Kullback-Leibler divergence to f32, in nats a token, over prompts and answers of the golden conversations;
# about twice what was measured (docs/language-models.md has the figures).
@pytest.mark.parametrize(("weights", "bound"), [("bf16", 1e-6), ("int8", 2e-3), ("int4", 0.2)])
def test_fewer_bits_stay_close_to_f32(exact: Any, weights: str, bound: float) -> None:
    divergences = []
    with ziggurat.load_llm(FOLDER, weights=weights, kv_cache="f32") as model:
        for entry in GOLDEN:
            tokens = entry["prompt"] + entry["tokens"]
            want, got = log_probabilities(exact, tokens), log_probabilities(model, tokens)
            divergences.append((np.exp(want) * (want - got)).sum(axis=1))
    mean = float(np.concatenate(divergences).mean())
    assert 0 <= mean < bound


def test_the_card_tells_the_truth() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    header = (FOLDER / "model.safetensors").read_bytes()
    size = int.from_bytes(header[:8], "little")
    tensors = json.loads(header[8 : 8 + size])
    count = sum(int(np.prod(t["shape"])) for name, t in tensors.items() if name != "__metadata__")
    assert f"{count:,} parameters" in card
    assert all(t["dtype"] == "BF16" for name, t in tensors.items() if name != "__metadata__")
    assert "WordNet" in (FOLDER / "LICENSE.wordnet").read_text(encoding="utf-8")
