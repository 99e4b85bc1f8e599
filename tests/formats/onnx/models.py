"""Small models for the reader's tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.formats.onnx.recorder import Recorder
from ziggurat.formats.onnx import Imported, read_onnx

FLOAT = onnx.TensorProto.FLOAT


def value(name: str, dtype: int = FLOAT, shape: Sequence[int | str | None] | None = (2, 3)) -> Any:
    return helper.make_tensor_value_info(name, dtype, None if shape is None else list(shape))


def model(
    nodes: Sequence[Any],
    inputs: Sequence[Any] = (),
    outputs: Sequence[Any] = (),
    initializers: Sequence[Any] = (),
    opset: int = 28,
    **more: Any,
) -> Any:
    """A ModelProto; `more` may have functions, ir_version, opsets."""
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(initializers))
    opsets = more.pop("opsets", [("", opset)])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid(*entry) for entry in opsets], **more)
    made.ir_version = more.get("ir_version", 10)
    return made


def weights_model(elements: int = 1000) -> Any:
    """x @ w + b, with a weight large enough to stay in the file."""
    weight = np.arange(3 * elements, dtype=np.float32).reshape(3, elements)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], "m"), helper.make_node("Add", ["h", "b"], ["y"], "a")]
    initializers = [
        numpy_helper.from_array(weight, "w"),
        numpy_helper.from_array(np.ones(elements, np.float32), "b"),
    ]
    return model(nodes, [value("x")], [value("y", shape=(2, elements))], initializers)


def read(proto: Any, **options: Any) -> Imported:
    """Reads a ModelProto, or bytes, with the recording builder."""
    data = proto if isinstance(proto, bytes) else proto.SerializeToString()
    unknown = options.pop("unknown", frozenset())
    return read_onnx(data, lambda name: Recorder(name, unknown), check=options.pop("check", False))
