"""The types inferred at load, against the outputs that the backend suite of the onnx package expects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import helper

from tests.conformance.node_cases import Case, collect
from ziggurat import _native as native
from ziggurat.errors import ZigguratError
from ziggurat.formats.onnx import read_onnx

# What cannot be said at load: lengths that follow from elements of inputs. The share was 0.83 when this was written.
LEAST_EXACT_SHARE = 0.8


class Recorder(native.GraphBuilder):  # type: ignore[misc, name-defined]
    """The outermost graph's builder, which keeps the types of the graph's outputs as (dtype, shape)."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.types: list[tuple[int, list[Any] | None]] = []

    def output(self, value: int, name: str) -> None:
        self.types.append((self.dtype_of(value), self.shape_of(value)))
        super().output(value, name)


def inferred(case: Case) -> list[tuple[int, list[Any] | None]]:
    builders: list[Recorder] = []

    def new(name: str) -> Recorder:
        builders.append(Recorder(name))
        return builders[-1]

    read_onnx(case.model().SerializeToString(), new, check=False)
    return builders[0].types


def verdict(dtype: int, shape: list[Any] | None, expected: np.ndarray[Any, Any]) -> str:
    """ "exact", "open" (a rank or dimension is not named) or what is wrong."""
    if expected.dtype.kind not in "OUS" and helper.np_dtype_to_tensor_dtype(expected.dtype) != dtype:
        return f"element type {dtype}, expected {expected.dtype}"
    if shape is None:
        return "open"
    if len(shape) != expected.ndim:
        return f"shape {shape}, expected {list(expected.shape)}"
    if any(isinstance(dim, int) and dim != size for dim, size in zip(shape, expected.shape, strict=True)):
        return f"shape {shape}, expected {list(expected.shape)}"
    return "exact" if all(isinstance(dim, int) for dim in shape) else "open"


def test_no_inferred_type_contradicts_an_expected_output(figure: Callable[[str], None]) -> None:
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for case in collect():
        if case.category not in ("ai.onnx", "expanded functions"):
            continue
        try:
            types = inferred(case)
        except ZigguratError:
            counts["not read"] += 1  # the suite of conformance says which and why
            continue
        _, outputs = next(iter(case.data()))
        for (dtype, shape), expected in zip(types, outputs, strict=True):
            if not isinstance(expected, np.ndarray):
                continue
            said = verdict(dtype, shape, expected)
            counts[said if said in ("exact", "open") else "wrong"] += 1
            if said not in ("exact", "open"):
                wrong.append(f"{case.name}: {said}")
    figure(f"inference: {dict(counts)}")
    assert wrong == []
    assert counts["exact"] > LEAST_EXACT_SHARE * (counts["exact"] + counts["open"])
    assert counts["not read"] < 0.02 * counts.total()


def test_verdicts_see_what_they_should() -> None:
    expected = np.zeros((2, 3), np.float32)
    assert verdict(1, [2, 3], expected) == "exact"
    assert verdict(1, [2, "n"], expected) == "open"
    assert verdict(1, None, expected) == "open"
    assert verdict(1, [2, 4], expected).startswith("shape")
    assert verdict(1, [6], expected).startswith("shape")
    assert verdict(7, [2, 3], expected).startswith("element type")
