"""Models whose weights drown what else a process takes."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper


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
