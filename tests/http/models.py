"""Small models that the service's tests serve, written as a repository."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# V2's name for each element type that a client can send, with ONNX's.
ELEMENT_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "BYTES": TensorProto.STRING,
}
SLOW_STEPS = 400
SLOW_WIDTH = 256


def value(name: str, element_type: int, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element_type, shape)


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: dict[str, np.ndarray] | None = None,
) -> Path:
    initializers = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, initializers)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def identity(path: Path, element_type: int, shape: list[int | str] | None = None) -> Path:
    """y = x, for vectors of any length unless `shape` says otherwise."""
    extents = ["n"] if shape is None else shape
    node = helper.make_node("Identity", ["x"], ["y"])
    return save(path, [node], [value("x", element_type, extents)], [value("y", element_type, extents)])


def pair(path: Path) -> Path:
    """sum = a + b and difference = a - b, of [batch, 2]."""
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])]
    named = {name: value(name, TensorProto.FLOAT, ["batch", 2]) for name in ("a", "b", "sum", "difference")}
    return save(path, nodes, [named["a"], named["b"]], [named["sum"], named["difference"]])


def slow(path: Path) -> Path:
    """Multiplies [n, 256] by one permutation 400 times: seconds for a few thousand rows, and no value grows."""
    names = ["x", *(f"h{step}" for step in range(SLOW_STEPS - 1)), "y"]
    nodes = [helper.make_node("MatMul", [a, "w"], [b]) for a, b in itertools.pairwise(names)]
    weight = np.roll(np.eye(SLOW_WIDTH, dtype=np.float32), 1, axis=0)
    shape: list[int | str] = ["n", SLOW_WIDTH]
    return save(
        path, nodes, [value("x", TensorProto.FLOAT, shape)], [value("y", TensorProto.FLOAT, shape)], {"w": weight}
    )


def repository(root: Path) -> Path:
    for name, element_type in ELEMENT_TYPES.items():
        identity(root / f"identity/{name.lower()}.onnx", element_type)
    pair(root / "pair/1/model.onnx")
    pair(root / "pair/3/model.onnx")
    slow(root / "slow.onnx")
    identity(root / "fixed/model.onnx", TensorProto.FLOAT, [2, 3])
    identity(root / "grid.onnx", TensorProto.FLOAT, ["n", 2, 2])
    identity(root / "free.onnx", TensorProto.FLOAT, ["a", "b", "c"])
    (root / "broken.onnx").write_bytes(b"this is no model")
    return root
