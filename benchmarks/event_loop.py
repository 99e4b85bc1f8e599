"""How long the server's event loop is held, by kind and size of request: python -m benchmarks.event_loop [--seconds 2]

The server runs in this process with a callback that is due in every turn of its loop; a client in another process asks
one kind of request after the other. Of each turn are told: the CPU time that the loop's thread took (what the loop did
itself) and the time that passed (with waiting for the interpreter's lock, and for a CPU). The goal is a millisecond.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parent.parent

# kind, numbers in and out
KINDS = [
    *(("json", count) for count in (16, 1_000, 4_000, 50_000, 500_000)),
    *(("json out", count) for count in (1_000, 50_000, 500_000)),
    *(("binary", count) for count in (256, 16_384, 262_144, 3_200_000, 16_000_000)),
    ("bytes", 50_000),
    ("gzip", 500_000),
    ("gzip answer", 500_000),
    ("chat", 0),
    ("metrics", 0),
    ("index", 0),
    ("reload", 0),
]


def write_models(folder: Path) -> None:
    """`echo` gives its input back, `sum` one number, `count` as many as it is told, `words` strings."""
    free = ["n"]

    def save(name: str, nodes: list[Any], takes: int, gives: int, shape: Any = free, out: Any = free) -> None:
        inputs = [helper.make_tensor_value_info("x", takes, shape)]
        graph = helper.make_graph(nodes, name, inputs, [helper.make_tensor_value_info("y", gives, out)])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, folder / f"{name}.onnx")

    save("echo", [helper.make_node("Neg", ["x"], ["y"])], TensorProto.FLOAT, TensorProto.FLOAT)
    save("sum", [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)], TensorProto.FLOAT, TensorProto.FLOAT, out=[])
    grown = [helper.make_node("ConstantOfShape", ["x"], ["z"]), helper.make_node("Cos", ["z"], ["c"])]
    grown.append(helper.make_node("Sqrt", ["c"], ["y"]))
    save("count", grown, TensorProto.INT64, TensorProto.FLOAT, shape=[1], out=["m"])
    save("words", [helper.make_node("Identity", ["x"], ["y"])], TensorProto.STRING, TensorProto.STRING)


def ask(port: int, kind: str, count: int, seconds: float) -> int:
    """Asks for `seconds`, a second of it for warming up before a line is printed; the number of answers."""
    method, path, body, headers = _request(kind, count)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    end, answers, told = time.monotonic() + seconds + 0.5, 0, False
    while time.monotonic() < end or answers < 3:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise SystemExit(f"{kind} {count}: {response.status} {content[:300]!r}")
        answers += 1
        if not told and time.monotonic() > end - seconds:
            print("warm", flush=True)
            told = True
    return answers


def _request(kind: str, count: int) -> tuple[str, str, bytes | None, dict[str, str]]:
    numbers = np.random.default_rng(1).standard_normal(count, np.float32)

    def infer(model: str, item: dict[str, Any], **more: Any) -> tuple[str, bytes]:
        return f"/v2/models/{model}/infer", json.dumps({"inputs": [{"name": "x", **item}], **more}).encode()

    listed = {"datatype": "FP32", "shape": [count], "data": [round(float(value), 6) for value in numbers]}
    if kind in ("json", "gzip"):
        path, body = infer("sum" if kind == "gzip" else "echo", listed)
        return "POST", path, *((gzip.compress(body, 1), {"content-encoding": "gzip"}) if kind == "gzip" else (body, {}))
    if kind in ("json out", "gzip answer"):
        path, body = infer("count", {"datatype": "INT64", "shape": [1], "data": [count]})
        return "POST", path, body, {"accept-encoding": "gzip"} if kind == "gzip answer" else {}
    if kind == "binary":
        item = {"datatype": "FP32", "shape": [count], "parameters": {"binary_data_size": 4 * count}}
        path, head = infer("echo", item, parameters={"binary_data_output": True})
        return "POST", path, head + numbers.tobytes(), {"inference-header-content-length": str(len(head))}
    if kind == "bytes":
        path, body = infer(
            "words", {"datatype": "BYTES", "shape": [count], "data": [f"word {i}" for i in range(count)]}
        )
        return "POST", path, body, {}
    if kind == "chat":
        question = {"model": "dictionary", "stream": True, "temperature": 0}
        question["messages"] = [{"role": "user", "content": "What is a lighthouse?"}]
        return "POST", "/v1/chat/completions", json.dumps(question).encode(), {"content-type": "application/json"}
    if kind == "reload":
        return "POST", "/v2/repository/models/echo/load", b"{}", {}
    return ("GET", "/metrics", None, {}) if kind == "metrics" else ("POST", "/v2/repository/index", b"{}", {})


class Turns:
    """The turns of a loop, by a callback in each."""

    def __init__(self) -> None:
        self.cpu: list[float] = []
        self.wall: list[float] = []
        self._watching = False

    def watch(self, loop: Any) -> Callable[[], None]:
        self.cpu, self.wall, self._watching = [], [], True
        last = [0.0, 0.0]

        def turn() -> None:
            cpu, wall = time.thread_time(), time.perf_counter()
            if last[1]:
                self.cpu.append(cpu - last[0])
                self.wall.append(wall - last[1])
            last[:] = time.thread_time(), time.perf_counter()
            if self._watching:
                loop.call_soon(turn)

        loop.call_soon_threadsafe(turn)

        def stop() -> None:
            self._watching = False

        return stop


def measure(running: Any, kind: str, count: int, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.event_loop", "--ask", str(running.port), kind, str(count)]
    turns = Turns()
    with subprocess.Popen([*command, "--seconds", str(seconds)], stdout=subprocess.PIPE, text=True, cwd=ROOT) as client:
        assert client.stdout is not None
        client.stdout.readline()
        stop = turns.watch(running.loop)
        answers = client.stdout.readline()
        stop()
    if client.returncode:
        raise SystemExit(f"{kind} {count} failed")
    row: dict[str, Any] = {"kind": kind, "count": count, "answers": int(answers), "turns": len(turns.cpu)}
    for name, values in (("cpu", turns.cpu), ("wall", turns.wall)):
        row[name] = {"most": max(values), "above": sum(value > 1e-3 for value in values)}
        # Of the turns that did something: those that took longer than looking at the clock does.
        busy = sorted(value for value in values if value > 2e-5) or [0.0]
        row[name]["p99"] = busy[int(0.99 * (len(busy) - 1))]
    print(f"{kind:<12} {count:>10,} {row['answers']:>8} | cpu ms: p99 {1e3 * row['cpu']['p99']:>7.3f}  most "
          f"{1e3 * row['cpu']['most']:>7.3f}  above 1 ms {row['cpu']['above']:>5} | passed ms: p99 "
          f"{1e3 * row['wall']['p99']:>7.3f}  most {1e3 * row['wall']['most']:>7.3f}", flush=True)  # fmt: skip
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--kind", help="one kind only")
    parser.add_argument("--ask", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ask:
        port, kind, count = arguments.ask
        print(ask(int(port), kind, int(count), arguments.seconds))
        return
    from tests.http.support import serving

    with tempfile.TemporaryDirectory(prefix="ziggurat-loop-") as name:
        folder = Path(name)
        write_models(folder)
        (folder / "dictionary").symlink_to(ROOT / "models" / "dictionary")
        with serving(folder) as running:
            sys.setswitchinterval(0.0005)  # as `ziggurat serve` does
            gc.collect()
            gc.freeze()
            kinds = [one for one in KINDS if arguments.kind in (None, one[0])]
            rows = [measure(running, kind, count, arguments.seconds) for kind, count in kinds]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "event_loop.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
