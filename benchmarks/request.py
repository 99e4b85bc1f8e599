"""Where the time of one V2 request goes, step by step: python -m benchmarks.request [--times 2000]

The steps are the server's own functions, called as it calls them; the whole is asked over HTTP, one connection, and the
rest is what HTTP costs: reading the socket, the parser, writing the socket, and the client's half of the same.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ziggurat.http import v2_feeds, v2_request, v2_response
from ziggurat.http.bodies import Framing

RESULTS = Path(__file__).parent / "results"


def write_models(folder: Path) -> None:
    """`tiny` is one product, 16 numbers in and 8 out; `scale` gives back as many numbers as it gets."""
    opset, free = [helper.make_opsetid("", 17)], "n"
    value = helper.make_tensor_value_info
    weight = numpy_helper.from_array(np.random.default_rng(1).standard_normal((16, 8), np.float32), "w")
    tiny = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "tiny",
        [value("x", TensorProto.FLOAT, [free, 16])],
        [value("y", TensorProto.FLOAT, [free, 8])],
        [weight],
    )
    scale = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])],
        "scale",
        [value("x", TensorProto.FLOAT, [free])],
        [value("y", TensorProto.FLOAT, [free])],
    )
    for graph in (tiny, scale):
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), folder / f"{graph.name}.onnx")


def requests() -> list[tuple[str, str, bytes, dict[str, str]]]:
    """(what, model, body, headers)"""
    numbers = np.random.default_rng(2).standard_normal(262_144, np.float32)

    def as_json(model: str, values: list[float], shape: list[int]) -> tuple[str, bytes, dict[str, str]]:
        item = {"name": "x", "datatype": "FP32", "shape": shape, "data": values}
        return model, json.dumps({"inputs": [item]}).encode(), {}

    item = {"name": "x", "datatype": "FP32", "shape": [262_144], "parameters": {"binary_data_size": 4 * 262_144}}
    head = json.dumps({"inputs": [item], "parameters": {"binary_data_output": True}}).encode()
    binary = ("scale", head + numbers.tobytes(), {"inference-header-content-length": str(len(head))})
    return [
        ("16 numbers, JSON", *as_json("tiny", [round(float(value), 4) for value in numbers[:16]], [1, 16])),
        ("10,000 numbers, JSON", *as_json("scale", [round(float(value), 4) for value in numbers[:10_000]], [10_000])),
        ("1 MiB, binary", *binary),
    ]


def step_times(model: Any, body: bytes, headers: dict[str, str], times: int) -> dict[str, float]:
    """Microseconds, the median of each step."""
    found: dict[str, list[float]] = {}

    def step(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        begin = time.perf_counter()
        result = function(*arguments)
        found.setdefault(name, []).append(1e6 * (time.perf_counter() - begin))
        return result

    fields = [(name.encode(), text.encode()) for name, text in headers.items()]
    fields += [(b"host", b"127.0.0.1"), (b"content-length", b"%d" % len(body))]
    for _ in range(times):
        framing = step("headers", Framing, fields)
        request = step("JSON to a document", v2_request.parse, body, framing.header_length)
        feeds = step("tensors, checked", v2_feeds.feeds, request, model.inputs)
        arrays = step("the model", model.run, feeds)
        step("the answer", v2_response.encode, request, "m", "1", arrays, {})
    return {name: statistics.median(values) for name, values in found.items()}


def whole_time(port: int, model: str, body: bytes, headers: dict[str, str], times: int) -> tuple[float, str]:
    """Microseconds of a request over HTTP, the median, and the last answer's Server-Timing."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        connection.request("POST", f"/v2/models/{model}/infer", body, headers)
        response = connection.getresponse()
        response.read()
        taken.append(1e6 * (time.perf_counter() - begin))
        if response.status != 200:
            raise SystemExit(f"{model}: {response.status}")
    return statistics.median(taken), response.headers["server-timing"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=2000)
    times = parser.parse_args().times
    from tests.http.support import serving

    rows = []
    with tempfile.TemporaryDirectory(prefix="ziggurat-request-") as name:
        write_models(Path(name))
        with serving(Path(name)) as running:
            for what, model, body, headers in requests():
                count = times if len(body) < 1 << 16 else times // 10
                loaded = running.service.registry.find(model, None).ready_model()
                steps = step_times(loaded, body, headers, count)
                whole, timing = whole_time(running.port, model, body, headers, count)
                rest = whole - sum(steps.values())
                rows.append({"request": what, "steps": steps, "rest": rest, "whole": whole, "server_timing": timing})
                told = "  ".join(f"{step} {value:.1f}" for step, value in steps.items())
                print(f"{what:<22} {told}  rest {rest:.1f}  whole {whole:.1f} µs  ({timing})", flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "request.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
