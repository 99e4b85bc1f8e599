"""`ziggurat verify`: a model of the user's own against the engine that runs it today."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer

import ziggurat
from ziggurat.cli import peers
from ziggurat.cli.benchmark import Shape, random_feeds
from ziggurat.cli.checking import distance
from ziggurat.errors import InvalidArgument
from ziggurat.formats.architectures.encoder_reader import is_encoder

PEERS = ("onnxruntime", "transformers", "llama.cpp")
# Of the largest magnitude. Two float32 engines differ in the order of their sums; with quantised weights each also
# quantises activations in its own way.
EXACT, QUANTISED = 1e-3, 0.2
TEXTS = (
    "A ziggurat is a terraced tower of ancient Mesopotamia.",
    "Bread needs flour, water, salt and time.",
    "Die Antwort ist 42.",
)
Array = np.ndarray[Any, Any]


def verify(path: Path, against: str | None, prompt: str | None, tokens: int, tolerance: float | None) -> bool:
    """Runs both on the same input and prints how far they are apart; True if within the tolerance."""
    if against is not None and against not in PEERS:
        raise InvalidArgument(f"--against {against}; expected one of {', '.join(PEERS)}")
    if path.suffix == ".onnx":
        return _onnx(path, _only(against, "onnxruntime"), 1e-4 if tolerance is None else tolerance)
    if is_encoder(path):
        return _encoder(path, _only(against, "transformers"), 1e-4 if tolerance is None else tolerance)
    return _language(path, against or ("transformers" if path.is_dir() else "llama.cpp"), prompt, tokens, tolerance)


def _only(against: str | None, peer: str) -> str:
    if against not in (None, peer):
        raise InvalidArgument(f"models of this kind are compared with {peer}, not with {against}")
    return peer


def _onnx(path: Path, against: str, tolerance: float) -> bool:
    with ziggurat.load(path) as model:
        feeds = random_feeds(model.inputs, Shape(seq=16))
        got = model.run(feeds)
    want = peers.onnxruntime_outputs(path, feeds)
    verdicts = [_judge(name, distance(got[name], want[name]), tolerance, against) for name in want]
    return all(verdicts)


def _encoder(path: Path, against: str, tolerance: float) -> bool:
    with ziggurat.load_encoder(path) as encoder:
        if encoder.ranks:
            got = encoder.scores(TEXTS[0], TEXTS[1:])
            want = peers.transformers_scores(path, [(TEXTS[0], text) for text in TEXTS[1:]])
            return _judge("scores", distance(got, want), tolerance, against)
        got = encoder.embed(TEXTS)
    return _judge("embeddings", distance(got, peers.sentence_embeddings(path, TEXTS)), tolerance, against)


def _language(path: Path, against: str, prompt: str | None, tokens: int, tolerance: float | None) -> bool:
    if against == "onnxruntime":
        raise InvalidArgument("language models are compared with transformers or llama.cpp")
    with ziggurat.load_llm(path, kv_cache="f32", max_sequences=1) as model:
        ids = _ids(model, prompt, tokens)
        got, form = model.forward(ids), model.spec.weights
    ask = peers.transformers_logits if against == "transformers" else peers.llama_cpp_logits
    want = ask(path, ids)
    if want.shape != got.shape:
        raise InvalidArgument(f"{against} gives logits of shape {list(want.shape)}, this engine {list(got.shape)}")
    same = int((got.argmax(axis=1) == want.argmax(axis=1)).sum())
    typer.echo(f"{len(ids)} tokens, weights {form}")
    typer.echo(f"the same most probable next token after {same} of {len(ids)}")
    typer.echo(f"mean Kullback-Leibler divergence {divergence(want, got):.2e} nats")
    default = EXACT if form in ("f32", "f16", "bf16") else QUANTISED
    allowed = default if tolerance is None else tolerance
    return _judge("logits", distance(got, want), allowed, against)


def _ids(model: ziggurat.LanguageModel, prompt: str | None, tokens: int) -> Sequence[int]:
    if prompt is not None:
        return model.tokenizer.encode(prompt)
    count = min(tokens, model.spec.context)
    ids: list[int] = np.random.default_rng(0).integers(0, model.spec.vocab, count).tolist()
    return ids


def divergence(want: Array, got: Array) -> float:
    """Mean over rows of KL(want || got), both logits."""
    p, q = _log_softmax(want), _log_softmax(got)
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())


def _log_softmax(logits: Array) -> Array:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    values: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return values


def _judge(what: str, apart: float, allowed: float, against: str) -> bool:
    verdict = "agrees" if apart <= allowed else "DIFFERS"
    typer.echo(f"{verdict}  {what}: {apart:.2e} of {against}'s largest magnitude (allowed {allowed:.0e})")
    return apart <= allowed
