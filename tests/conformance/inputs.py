"""Inputs that make a wrong answer visible."""

from __future__ import annotations

import numpy as np
import onnx

from tests.conformance.engines import Feeds


def feeds_for(model: bytes, batch: int, sequence: int = 16, seed: int = 0) -> Feeds:
    """One array for each graph input that has no initialiser; free dimensions named "sequence" get that length.

    Pictures are large smooth shapes with some noise (pure noise averages out, and hides what is wrong); masks end
    with padding of another length in each row.
    """
    rng = np.random.default_rng(seed)
    graph = onnx.load_from_string(model).graph
    weights = {tensor.name for tensor in graph.initializer}
    feeds: Feeds = {}
    for value in graph.input:
        if value.name in weights:
            continue
        tensor = value.type.tensor_type
        shape = [d.dim_value or (sequence if d.dim_param == "sequence" else batch) for d in tensor.shape.dim]
        dtype = numpy_dtype(tensor.elem_type)
        if "mask" in value.name:
            lengths = sequence - np.arange(batch) % max(sequence // 2, 1)
            feeds[value.name] = (np.arange(sequence) < lengths[:, None]).astype(dtype)
        elif dtype.kind in "iu":
            feeds[value.name] = rng.integers(0, 300, shape).astype(dtype)
        elif len(shape) == 4:
            feeds[value.name] = pictures(rng, shape).astype(dtype)
        else:
            feeds[value.name] = rng.standard_normal(shape).astype(dtype)
    return feeds


def numpy_dtype(elem_type: int) -> np.dtype:
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type))


def pictures(rng: np.random.Generator, shape: list[int]) -> np.ndarray:
    n, c, h, w = shape
    y, x = np.linspace(0, 1, h)[:, None], np.linspace(0, 1, w)[None, :]
    out = 0.3 * rng.standard_normal(shape)
    for _ in range(4):
        amplitude, phase = rng.standard_normal((2, n, c, 1, 1))
        fy, fx = rng.uniform(0.5, 3, (2, n, c, 1, 1))
        out += amplitude * np.cos(2 * np.pi * (fy * y + fx * x) + 6 * phase)
    return out
