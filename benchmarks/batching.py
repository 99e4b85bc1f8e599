"""Dynamic batching against one-by-one: an MLP 784-4096-4096-10 over HTTP, binary tensors, N clients in a closed loop.

    python -m benchmarks.batching [--clients 16] [--seconds 4] [--rounds 3]

Two servers, the same model: one with `max_batch_size: 32` in model.yaml, one without. They run in turn, the best round
of each counts. Needs wrk. Prints requests per second and latencies for one client and for N, and whether the answers
are the same bits.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZES = (784, 4096, 4096, 10)
BATCHED = "max_batch_size: 32\nmax_queue_delay: 0.002\n"


def write_model(path: Path) -> None:
    rng = np.random.default_rng(0)
    nodes, weights, name = [], [], "x"
    for layer, (before, after) in enumerate(itertools.pairwise(SIZES)):
        weight = rng.standard_normal((before, after), np.float32) / np.float32(np.sqrt(before))
        weights += [
            numpy_helper.from_array(weight, f"w{layer}"),
            numpy_helper.from_array(np.zeros(after, np.float32), f"b{layer}"),
        ]
        last = layer == len(SIZES) - 2
        nodes.append(helper.make_node("Gemm", [name, f"w{layer}", f"b{layer}"], ["y" if last else f"g{layer}"]))
        if not last:
            nodes.append(helper.make_node("Relu", [f"g{layer}"], [name := f"r{layer}"]))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", SIZES[0]])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", SIZES[-1]])]
    graph = helper.make_graph(nodes, "mlp", inputs, outputs, weights)
    path.parent.mkdir(parents=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def request() -> tuple[bytes, int]:
    data = np.random.default_rng(1).standard_normal((1, SIZES[0]), np.float32).tobytes()
    item = {"name": "x", "datatype": "FP32", "shape": [1, SIZES[0]], "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [item], "parameters": {"binary_data_output": True}}).encode()
    return head + data, len(head)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The URL of a server over `folder`, once its model is ready."""
    command = [sys.executable, "-m", "ziggurat", "serve", str(folder), "--port", "0", "--set", "logging.format=json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "is serving on" in line)
        yield line.split()[-1]
    finally:
        process.terminate()
        process.communicate(timeout=60)


def load(url: str, script: Path, clients: int, seconds: int) -> tuple[float, dict[str, str]]:
    command = [
        "wrk",
        "-t1",
        f"-c{clients}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        str(script),
        f"{url}/v2/models/mlp/infer",
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in text, text
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert rate is not None, text
    return float(rate[1]), dict(re.findall(r"(50|99)%\s+([\d.]+\w+)", text))


def ask(url: str, body: bytes, length: int) -> bytes:
    wanted = urllib.request.Request(
        f"{url}/v2/models/mlp/infer", body, {"Inference-Header-Content-Length": str(length)}
    )
    with urllib.request.urlopen(wanted, timeout=60) as reply:
        return bytes(reply.read()[int(reply.headers["Inference-Header-Content-Length"]) :])


def measure(root: Path, clients: int, seconds: int, rounds: int) -> None:
    body, length = request()
    (root / "body").write_bytes(body)
    script = root / "post.lua"
    script.write_text(
        f"wrk.method='POST'; wrk.headers['Inference-Header-Content-Length']='{length}'\n"
        f"local file = io.open('{root / 'body'}', 'rb'); wrk.body = file:read('*a'); file:close()\n"
    )
    best: dict[tuple[str, int], tuple[float, dict[str, str]]] = {}
    answers = {}
    for _ in range(rounds):
        for name in ("alone", "shared"):
            with server(root / name) as url:
                answers[name] = ask(url, body, length)
                for count in (1, clients):
                    result = load(url, script, count, seconds)
                    best[name, count] = max(best.get((name, count), (0.0, {})), result, key=lambda one: one[0])
    for (name, count), (rate, latency) in sorted(best.items(), key=lambda item: item[0][1]):
        what = "one by one" if name == "alone" else "with batching"
        print(f"{count:3} clients  {what:14} {rate:8.1f} requests/s  p50 {latency['50']:>9}  p99 {latency['99']:>9}")
    for count in (1, clients):
        print(f"{count:3} clients  batching is {best['shared', count][0] / best['alone', count][0]:.2f} times as fast")
    print(f"same bits: {answers['alone'] == answers['shared']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed: sudo apt install wrk")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_model(root / "alone/mlp/model.onnx")
        shutil.copytree(root / "alone", root / "shared")
        (root / "shared/mlp/model.yaml").write_text(BATCHED)
        measure(root, args.clients, args.seconds, args.rounds)


if __name__ == "__main__":
    main()
