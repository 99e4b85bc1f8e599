"""The harness for "the same request gives the same bits": any model can be put through it.

A request is one row of the batch (dimension 0 of every input that has a free first dimension). Its outputs must be
bitwise the same alone, in a batch of any size, at any place in it, and on any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.conformance.engines import Feeds

Run = Callable[[Feeds], Feeds]


def bits(array: np.ndarray) -> np.ndarray:
    """The bytes of the array, row by row: equal for equal bits only (-0.0 is not 0.0, a NaN equals itself)."""
    rows = len(array) if array.ndim else 1
    return np.ascontiguousarray(array).view(np.uint8).reshape(rows, -1)


def difference(name: str, alone: np.ndarray, together: np.ndarray) -> str:
    if alone.shape != together.shape or alone.dtype != together.dtype:
        return f"{name}: {alone.dtype}{alone.shape} against {together.dtype}{together.shape}"
    unequal = (bits(alone) != bits(together)).any(axis=1)
    if not unequal.any():
        return ""
    worst = np.abs(alone.astype(np.float64) - together.astype(np.float64)).max()
    return f"{name}: rows {np.flatnonzero(unequal).tolist()} differ, by up to {worst:.3g}"


def take(feeds: Feeds, rows: list[int], batched: set[str]) -> Feeds:
    return {name: value[rows] if name in batched else value for name, value in feeds.items()}


def assert_rows_stand_alone(run: Run, feeds: Feeds, batched: set[str] | None = None) -> Feeds:
    """Runs all rows together, each alone, and groups in another order; returns the outputs of all together.

    Args:
        run: Runs one model; called with batches of different sizes.
        feeds: Inputs of at least three different rows.
        batched: The inputs whose dimension 0 is the batch; all of them if not given.
    """
    batched = set(feeds) if batched is None else batched
    rows = len(feeds[next(iter(batched))])
    assert rows >= 3, "too few rows to tell anything"
    together = run(feeds)
    groups = [[row] for row in range(rows)] + [[2, 0], list(range(rows))[::-1], [1, 1, 0, 1]]
    for group in groups:
        apart = run(take(feeds, group, batched))
        for name, value in together.items():
            assert len(value) == rows, f"{name} has no batch dimension"
            problem = difference(name, apart[name], value[group])
            assert not problem, f"as {group}, {problem}"
    return together


def assert_same_bits(runs: dict[str, Run], feeds: Feeds) -> None:
    """All of `runs` (a label, and a way to run one model: thread counts, devices, plans) give the same bits."""
    labels = list(runs)
    first = runs[labels[0]](feeds)
    for label in labels[1:]:
        other = runs[label](feeds)
        for name, value in first.items():
            problem = difference(name, value, other[name])
            assert not problem, f"{labels[0]} and {label}: {problem}"
