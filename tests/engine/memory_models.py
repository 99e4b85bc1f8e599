"""Models whose weights drown what else a process takes."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def folded_product(size: int) -> bytes:
    """y [size, size] = x + a times b, both constants: computed at load."""
    generator = np.random.default_rng(3)
    nodes = [helper.make_node("MatMul", ["a", "b"], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])]
    shape = [size, size]
    weights = [numpy_helper.from_array(generator.standard_normal(shape, np.float32), name) for name in "ab"]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    graph = helper.make_graph(nodes, "folded", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()  # type: ignore[no-any-return]


def wide_linear(inputs: int, outputs: int, seed: int = 0) -> bytes:
    """y [rows, outputs] = x [rows, inputs] times a constant."""
    weight = np.random.default_rng(seed).standard_normal((inputs, outputs), np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", outputs])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()  # type: ignore[no-any-return]
