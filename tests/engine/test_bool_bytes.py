"""A bool tensor may come with any bytes, from a file or a request: all but zero are true, everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

import ziggurat
from tests.conformance.engines import ISAS

BYTES = np.array([0, 1, 2, 7, 128, 255] * 11 + [254], np.uint8)
TRUE = BYTES != 0


def _model(constant: bool) -> bytes:
    names = {"not": TensorProto.BOOL, "and": TensorProto.BOOL, "same": TensorProto.BOOL, "float": TensorProto.FLOAT}
    names |= {"int": TensorProto.INT8, "where": TensorProto.FLOAT}
    nodes = [
        helper.make_node("Not", ["x"], ["not"]),
        helper.make_node("And", ["x", "y"], ["and"]),
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["x"], ["int"], to=TensorProto.INT8),
        helper.make_node("Where", ["x", "one", "zero"], ["where"]),
    ]
    shape = [BYTES.size]
    kept = [
        helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
        helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
    ]
    inputs = [helper.make_tensor_value_info("y", TensorProto.BOOL, shape)]
    if constant:
        kept.append(helper.make_tensor("x", TensorProto.BOOL, shape, BYTES.tobytes(), raw=True))
    else:
        inputs.append(helper.make_tensor_value_info("x", TensorProto.BOOL, shape))
    outputs = [helper.make_tensor_value_info(name, dtype, shape) for name, dtype in names.items()]
    graph = helper.make_graph(nodes, "bools", inputs, outputs, kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()  # type: ignore[no-any-return]


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("isa", ISAS)
def test_every_byte_but_zero_is_true(isa: str | None, constant: bool, optimize: bool) -> None:
    x, y = BYTES.view(bool), np.roll(BYTES, 1).view(bool)
    with ziggurat.Engine(isa=isa) as engine:
        model = ziggurat.load(_model(constant), engine=engine, optimize=optimize)
        got = model.run({"y": y} if constant else {"x": x, "y": y})
    expected = {"not": ~TRUE, "and": TRUE & np.roll(TRUE, 1), "same": TRUE}
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name].view(np.uint8), value.astype(np.uint8), name)
    for name in ("float", "int", "where"):
        np.testing.assert_array_equal(got[name], TRUE.astype(got[name].dtype), name)


def test_elements_of_sequences_too() -> None:
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.BOOL, None)
    node = [
        helper.make_node("SequenceAt", ["s", "at"], ["x"]),
        helper.make_node("Not", ["x"], ["y"]),
    ]
    at = helper.make_tensor("at", TensorProto.INT64, [], [0])
    graph = helper.make_graph(
        node, "bools", [sequence], [helper.make_tensor_value_info("y", TensorProto.BOOL, None)], [at]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    got = ziggurat.load(model.SerializeToString()).run({"s": [BYTES.view(bool)]})["y"]
    np.testing.assert_array_equal(got.view(np.uint8), (~TRUE).astype(np.uint8))
