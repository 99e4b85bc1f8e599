"""Whole models against ONNX Runtime: python -m benchmarks.models [--threads N] [--seconds S] [NAME or FILE.onnx ...]

Prints for each model both engines' milliseconds, how many times as fast ziggurat is, and the share of the machine's
multiply-add peak that it reaches.
"""

from __future__ import annotations

import argparse
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.limits.__main__ import multiply_add_peak
from benchmarks.timing import Timing, compare
from tests.conformance import light_models, small_models
from tests.conformance.inputs import feeds_for

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MAKERS = {
    "digits": (ROOT / "models" / "digits" / "1" / "model.onnx").read_bytes,
    **small_models.MAKERS,
    **{name: partial(light_models.make, name) for name in light_models.NAMES},
}
DEFAULT = ("digits", "residual_net", "inverted_residual_net", "encoder", "squeezenet", "shufflenet", "resnet50")


def multiply_adds(model: bytes, feeds: dict[str, np.ndarray]) -> int:
    """Of the convolutions and matrix products alone, from the shapes that inference finds for these inputs."""
    proto = onnx.load_from_string(model)
    for value in proto.graph.input:
        if value.name in feeds:
            for dim, size in zip(value.type.tensor_type.shape.dim, feeds[value.name].shape, strict=True):
                dim.dim_value = size
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    shapes = {t.name: tuple(t.dims) for t in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes.setdefault(value.name, tuple(d.dim_value for d in value.type.tensor_type.shape.dim))
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            total += int(np.prod(shapes[node.output[0]]) * np.prod(shapes[node.input[1]][1:]))
        elif node.op_type in ("MatMul", "Gemm"):
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            total += int(np.prod(shapes[node.output[0]])) * shapes[node.input[0]][0 if transposed else -1]
    return total


def row(name: str, model: bytes, threads: int, seconds: float, batch: int, peak: float) -> dict[str, Any]:
    feeds = feeds_for(model, batch, sequence=128)
    timings = compare(["ziggurat", "onnxruntime"], model, threads, feeds, seconds)
    found: dict[str, Any] = {"model": name, "threads": threads, "batch": batch}
    found["multiply_adds"] = multiply_adds(model, feeds)
    found["peak"] = peak
    for engine, timing in timings.items():
        found[engine] = vars(timing) if isinstance(timing, Timing) else timing
    return found


def text(found: dict[str, Any]) -> str:
    ours, peer = found["ziggurat"], found["onnxruntime"]
    for engine, timing in (("ziggurat", ours), ("onnxruntime", peer)):
        if isinstance(timing, str):
            return f"{found['model']:<24} {engine}: {timing[:150]}"
    spread = (ours["high"] - ours["low"]) / ours["median"]
    share = 2 * found["multiply_adds"] / ours["median"] / found["peak"]
    times = f"{1e3 * ours['median']:>12.3f} {1e3 * peer['median']:>15.3f} {peer['median'] / ours['median']:>10.2f}"
    return f"{found['model']:<24} {times} {spread:>8.0%} {share:>8.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=2.0, help="per engine and model")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("models", nargs="*", default=DEFAULT, help=f"files, or of {', '.join(MAKERS)}")
    arguments = parser.parse_args()
    print(f"{'model':<24} {'ziggurat ms':>12} {'onnxruntime ms':>15} {'x as fast':>10} {'spread':>8} {'of peak':>8}")
    rows, peak = [], multiply_add_peak(arguments.threads)
    for name in arguments.models:
        model = MAKERS[name]() if name in MAKERS else Path(name).read_bytes()
        rows.append(row(name, model, arguments.threads, arguments.seconds, arguments.batch, peak))
        print(text(rows[-1]), flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "models.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
