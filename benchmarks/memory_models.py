"""Models in which memory itself may cost: large results, large weights read once a run, and many small steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

_CLASSES = 21


def _model(nodes: list[NodeProto], x: list[int | str], y: list[int | str], weights: dict[str, np.ndarray]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "memory",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()  # type: ignore[no-any-return]


def segmentation(size: int) -> bytes:
    """A head of 21 classes on a square image: results of 22 MB at 512, of 88 MB at 1024, as much between its steps."""
    rng = np.random.default_rng(0)
    weights = {
        "w0": rng.standard_normal((8, 3, 3, 3), np.float32),
        "w1": rng.standard_normal((_CLASSES, 8, 1, 1), np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w1"], ["c"]),
        helper.make_node("Softmax", ["c"], ["y"], axis=1),
    ]
    return _model(nodes, ["n", 3, size, size], ["n", _CLASSES, size, size], weights)


def wide_layers(width: int = 4096, layers: int = 3) -> bytes:
    """Matrix-vector products: 200 MB of weights, each read once a run."""
    rng = np.random.default_rng(0)
    weights = {f"w{i}": rng.standard_normal((width, width), np.float32) / 64 for i in range(layers)}
    nodes, x = [], "x"
    for i in range(layers):
        y = "y" if i == layers - 1 else f"h{i}"
        nodes += [helper.make_node("MatMul", [x, f"w{i}"], [f"p{i}"]), helper.make_node("Tanh", [f"p{i}"], [y])]
        x = y
    return _model(nodes, ["n", width], ["n", width], weights)


def upscaling() -> bytes:
    """An image made twice as large: 12 MB of results from little arithmetic."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("DepthToSpace", ["a"], ["y"], blocksize=2),
    ]
    weights = {"w0": rng.standard_normal((12, 3, 3, 3), np.float32)}
    return _model(nodes, ["n", 3, 512, 512], ["n", 3, 1024, 1024], weights)


MAKERS: dict[str, Callable[[], bytes]] = {
    "segmentation_512": lambda: segmentation(512),
    "segmentation_1024": lambda: segmentation(1024),
    "upscaling": upscaling,
    "wide_layers": wide_layers,
}
