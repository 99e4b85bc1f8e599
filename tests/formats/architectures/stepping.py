"""Runs a decoder graph by hand: one sequence over a KvPool, in steps of any size, its blocks in no tidy order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ziggurat import _native
from ziggurat.engine import Engine, GraphBuilder, Model
from ziggurat.formats.architectures import LanguageModelSource, read_language_model

BLOCK = 32
Array = np.ndarray[Any, Any]


class Stepper:
    """One sequence of one model. `logits` of all tokens of a step, or of the wanted rows."""

    def __init__(
        self, path: str | os.PathLike[str], *, kv: str = "float32", optimize: bool = True, **options: Any
    ) -> None:
        self.source: LanguageModelSource = read_language_model(path, GraphBuilder, **options)
        spec = self.source.spec
        self.engine = Engine(threads=1)
        self.model = Model(self.engine, self.source.graph, optimize=optimize)
        count = -(-spec.context // BLOCK) + 2
        self.pool = _native.KvPool(self.engine.core, spec.layers, spec.kv_heads, spec.head_dim, count, kv)
        self.blocks = np.random.default_rng(5).permutation(count)
        self.length = 0

    def step(self, ids: Sequence[int], rows: Sequence[int] | None = None) -> Array:
        positions = np.arange(self.length, self.length + len(ids))
        self.length += len(ids)
        feeds = {
            "tokens": np.asarray(ids, np.int64),
            "positions": positions,
            "slots": self.blocks[positions // BLOCK] * BLOCK + positions % BLOCK,
            "starts": np.array([0, len(ids)]),
            "blocks": self.blocks[None, : -(-self.length // BLOCK)],
            "rows": np.arange(len(ids)) if rows is None else np.asarray(rows, np.int64),
            "kv": self.pool,
        }
        return np.asarray(self.model.run(feeds, outputs=["logits"])["logits"])


def logits(
    path: str | os.PathLike[str], ids: Sequence[int], *, chunks: Sequence[int] | None = None, **options: Any
) -> Array:
    """Logits [tokens, vocab] of a fresh sequence, in steps of these sizes; default: one step."""
    stepper, done, parts = Stepper(path, **options), 0, []
    for size in chunks or [len(ids)]:
        parts.append(stepper.step(ids[done : done + size]))
        done += size
    return np.concatenate(parts)


def apart(got: Array, want: Array) -> float:
    """The largest difference as a part of the largest magnitude."""
    assert got.shape == want.shape
    assert np.isfinite(got).all()
    return float(np.abs(got - want).max() / np.abs(want).max())
