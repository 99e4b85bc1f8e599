"""Element-wise work, fused and not, against ONNX Runtime: python -m benchmarks.elementwise [--threads N] [NAME ...]

Each case is what exporters write around products: activations in their spellings, scales of channels, rotary
positions, time embeddings, cells of recurrent nets. `unfused` is ziggurat without fuse_elementwise, in the same run.
"""

from __future__ import annotations

import argparse
import os

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchmarks.timing import Timing, compare

ENGINES = ["ziggurat", "unfused", "onnxruntime"]


class Net:
    """A model in the making, of float32 values."""

    def __init__(self, **shapes: tuple[int, ...]) -> None:
        self.rng = np.random.default_rng(0)
        self.feeds = {name: self.rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def const(self, value: object, dtype: type = np.float32) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def weight(self, *shape: int) -> str:
        return self.const(self.rng.standard_normal(shape) * 0.1)

    def ints(self, *values: int) -> str:
        return self.const(values, np.int64)

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def split(self, x: str, parts: int) -> list[str]:
        names = [f"v{len(self.nodes)}_{i}" for i in range(parts)]
        self.nodes.append(helper.make_node("Split", [x], names, axis=-1, num_outputs=parts))
        return names

    def model(self, output: str) -> tuple[bytes, dict[str, np.ndarray]]:
        inputs = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, a.shape) for n, a in self.feeds.items()]
        outputs = [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, "case", inputs, outputs, self.weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        return made.SerializeToString(), self.feeds


Case = tuple[bytes, dict[str, np.ndarray]]


def tiny_chain() -> Case:
    net, x = Net(x=(8,)), "x"
    for i in range(101):
        x = net.op(("Sin", "Cos", "Neg", "Abs")[i % 4], x)
    return net.model(x)


def hard_swish() -> Case:
    """x * clip(x + 3, 0, 6) / 6 and a residual, as older exporters write it."""
    net = Net(x=(1, 64, 112, 112))
    gate = net.op("Clip", net.op("Add", "x", net.const(3)), net.const(0), net.const(6))
    return net.model(net.op("Add", net.op("Div", net.op("Mul", "x", gate), net.const(6)), "x"))


def mish() -> Case:
    net = Net(x=(1, 32, 104, 104))
    return net.model(net.op("Mul", "x", net.op("Tanh", net.op("Softplus", "x"))))


def scaled_channels() -> Case:
    """Before each layer of a densely connected net: a scale and an offset a channel, and Relu."""
    net = Net(x=(1, 56, 56, 96))
    return net.model(net.op("Relu", net.op("Add", net.op("Mul", "x", net.weight(96)), net.weight(96))))


def rotary() -> Case:
    net = Net(q=(1, 12, 384, 64), cos=(384, 64), sin=(384, 64))
    first = net.op("Slice", "q", net.ints(0), net.ints(32), net.ints(3))
    second = net.op("Slice", "q", net.ints(32), net.ints(64), net.ints(3))
    turned = net.op("Concat", net.op("Neg", second), first, axis=-1)
    return net.model(net.op("Add", net.op("Mul", "q", "cos"), net.op("Mul", turned, "sin")))


def time_embedding() -> Case:
    """Of a diffusion model: waves of a step's number, two layers with SiLU, a scale and a shift of feature maps."""
    net = Net(t=(1,), h=(1, 320, 32, 32))
    waves = net.op("Exp", net.op("Mul", net.const(np.arange(160)[None]), net.const(-0.0576)))
    angle = net.op("Mul", net.op("Unsqueeze", "t", net.ints(1)), waves)
    x = net.op("Concat", net.op("Cos", angle), net.op("Sin", angle), axis=-1)
    for width in (320, 640):
        x = net.op("Add", net.op("MatMul", x, net.weight(320, width)), net.weight(width))
        x = net.op("Mul", x, net.op("Sigmoid", x))
    scale, shift = net.split(x, 2)
    scale, shift = (net.op("Reshape", part, net.ints(1, 320, 1, 1)) for part in (scale, shift))
    h = net.op("Add", net.op("Mul", "h", net.op("Add", scale, net.const(1))), shift)
    return net.model(net.op("Mul", h, net.op("Sigmoid", h)))


def lstm_cells(steps: int = 16, width: int = 128) -> Case:
    net = Net(x=(1, width), h=(1, width), c=(1, width))
    w, u, b, h, c = net.weight(width, 4 * width), net.weight(width, 4 * width), net.weight(4 * width), "h", "c"
    for _ in range(steps):
        gates = net.op("Add", net.op("Add", net.op("MatMul", "x", w), net.op("MatMul", h, u)), b)
        i, f, g, o = net.split(gates, 4)
        kept = net.op("Mul", net.op("Sigmoid", f), c)
        c = net.op("Add", kept, net.op("Mul", net.op("Sigmoid", i), net.op("Tanh", g)))
        h = net.op("Mul", net.op("Sigmoid", o), net.op("Tanh", c))
    return net.model(h)


CASES = {
    made.__name__: made for made in (tiny_chain, hard_swish, mish, scaled_channels, rotary, time_embedding, lstm_cells)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=1.0, help="per engine and case")
    parser.add_argument("cases", nargs="*", default=list(CASES))
    arguments = parser.parse_args()
    print(f"{'case':<16}" + "".join(f"{engine + ' us':>16}" for engine in ENGINES) + f"{'x as fast':>12}")
    for name in arguments.cases:
        model, feeds = CASES[name]()
        timings = compare(ENGINES, model, arguments.threads, feeds, arguments.seconds)
        failed = [f"{engine}: {timing}" for engine, timing in timings.items() if not isinstance(timing, Timing)]
        found = [timing.median for timing in timings.values() if isinstance(timing, Timing)]
        figures = "".join(f"{1e6 * seconds:>16.1f}" for seconds in found) + f"{found[-1] / found[0]:>12.2f}"
        print(f"{name:<16}" + ("; ".join(failed) if failed else figures), flush=True)


if __name__ == "__main__":
    main()
