"""Where a language model's step spends its time: python -m benchmarks.steps MODEL [--threads N] [--kv f16] [--json]

For each kind of step (a prompt of 256 tokens, one token of one and of eight sequences, one behind a long context) its
milliseconds, and the share of each kernel: the median of several profiled runs. Shares say what to improve; the GB/s
of the whole step is its weights over its time, beside what the machine reads (`benchmarks.limits`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections import defaultdict
from typing import Any

import numpy as np

from benchmarks.linear import limits
from ziggurat import _native
from ziggurat.engine import Engine, GraphBuilder, Model
from ziggurat.formats.architectures import read_language_model

BLOCK = 32
CACHES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "int8": "int8"}


class Steps:
    """A model with a cache of random content, and steps of any shape on it."""

    def __init__(self, path: str, weights: str, threads: int, kv: str, sequences: int, context: int) -> None:
        source = read_language_model(path, GraphBuilder, weights=weights)
        spec = source.spec
        self.vocab, self.context = spec.vocab, context
        self.engine = Engine(threads=threads)
        self.model = Model(self.engine, source.graph)
        self.each = -(-context // BLOCK)
        blocks = sequences * self.each
        self.pool = _native.KvPool(self.engine.core, spec.layers, spec.kv_heads, spec.head_dim, blocks, CACHES[kv])

    def feeds(self, sequences: int, tokens: int, before: int) -> dict[str, Any]:
        """`tokens` new ones of each sequence behind `before` others; logits of each sequence's last."""
        positions = np.tile(np.arange(before, before + tokens), sequences)
        owner = np.repeat(np.arange(sequences), tokens)
        slots = owner * self.each * BLOCK + positions
        blocks = np.arange(sequences * self.each).reshape(sequences, self.each)
        return {
            "tokens": np.random.default_rng(before).integers(0, self.vocab, len(positions)),
            "positions": positions,
            "slots": slots,
            "starts": np.arange(sequences + 1) * tokens,
            "blocks": blocks[:, : -(-(before + tokens) // BLOCK)],
            "rows": np.arange(1, sequences + 1) * tokens - 1,
            "kv": self.pool,
        }

    def fill(self, sequences: int) -> None:
        """Writes keys and values of every position, so that no step reads what was never written."""
        for start in range(0, self.context, 256):
            self.model.run(self.feeds(sequences, min(256, self.context - start), start), outputs=["logits"])

    def weights(self, feeds: dict[str, Any]) -> float:
        """Bytes that the products of a step read at least."""
        return sum(row["bytes"] for row in self.model.profile(feeds) if row["op"] == "Linear")

    def shares(self, feeds: dict[str, Any], rounds: int) -> tuple[float, dict[str, float]]:
        """Milliseconds of a step, and of each kernel in it."""
        totals, kernels = [], defaultdict(list)
        for _ in range(rounds):
            once: dict[str, float] = defaultdict(float)
            for row in self.model.profile(feeds):
                once[row["kernel"] or row["op"]] += row["microseconds"] * 1e-3
            totals.append(sum(once.values()))
            for kernel, spent in once.items():
                kernels[kernel].append(spent)
        return statistics.median(totals), {kernel: statistics.median(spent) for kernel, spent in kernels.items()}


def measure(name: str, model: Steps, feeds: dict[str, Any], rounds: int) -> dict[str, Any]:
    total, kernels = model.shares(feeds, rounds)
    return {"step": name, "ms": total, "weights": model.weights(feeds), "kernels": kernels}


def show(row: dict[str, Any], read: float) -> None:
    rate = 1e3 * row["weights"] / row["ms"]
    print(f"{row['step']}: {row['ms']:.2f} ms, {rate * 1e-9:.1f} GB/s of weights, {100 * rate / read:.0f} % of reads")
    for kernel, spent in sorted(row["kernels"].items(), key=lambda pair: -pair[1])[:8]:
        print(f"    {100 * spent / row['ms']:5.1f} %  {spent:8.3f} ms  {kernel}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--kv", default="f16", choices=CACHES)
    parser.add_argument("--context", type=int, default=2048, help="the long one, in tokens")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    read = limits(arguments.threads)["read"]
    steps = Steps(arguments.model, arguments.weights, arguments.threads, arguments.kv, 1, arguments.context)
    steps.fill(1)
    eight = Steps(arguments.model, arguments.weights, arguments.threads, arguments.kv, 8, 64)
    eight.fill(8)
    shapes = {
        "prompt of 256": (steps, (1, 256, 0)),
        "1 token": (steps, (1, 1, 16)),
        "1 token of 8": (eight, (8, 1, 16)),
        f"1 token behind {arguments.context - 1}": (steps, (1, 1, arguments.context - 1)),
    }
    rows = [measure(name, model, model.feeds(*shape), arguments.rounds) for name, (model, shape) in shapes.items()]
    for row in () if arguments.json else rows:
        show(row, read)
    if arguments.json:
        print(json.dumps({"read_limit": read, "rows": rows}))


if __name__ == "__main__":
    main()
