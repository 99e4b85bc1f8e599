"""Quantised Gemm, as exporters of fully connected layers write it, is one product of 8-bit numbers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import ziggurat
from ziggurat.engine import usable_isas

INNER, COLUMNS = 75, 37


def model(turned: bool, per_column: bool, relu: bool) -> bytes:
    """uint8 [n, INNER] times int8 weights plus an int32 bias, perhaps Relu, rounded to uint8."""
    rng = np.random.default_rng(3)
    shape = (COLUMNS, INNER) if turned else (INNER, COLUMNS)
    scale = rng.uniform(0.005, 0.02, COLUMNS if per_column else ()).astype(np.float32)
    weights = {
        "x_scale": np.float32(0.03),
        "x_zero": np.uint8(121),
        "w": rng.integers(-128, 128, shape, dtype=np.int8),
        "w_scale": scale,
        "b": rng.integers(-4000, 4000, COLUMNS, dtype=np.int32),
        "b_scale": (scale * np.float32(0.03)).astype(np.float32),
        "y_scale": np.float32(0.25),
        "y_zero": np.uint8(0 if relu else 100),
    }
    axis = {"axis": 0 if turned else 1}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "x_scale", "x_zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale"], ["wd"], **axis),
        helper.make_node("DequantizeLinear", ["b", "b_scale"], ["bd"], axis=0),
        helper.make_node("Gemm", ["xd", "wd", "bd"], ["p"], transB=int(turned)),
        *([helper.make_node("Relu", ["p"], ["r"])] if relu else []),
        helper.make_node("QuantizeLinear", ["r" if relu else "p", "y_scale", "y_zero"], ["y"]),
    ]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, ["n", INNER])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.UINT8, ["n", COLUMNS])
    graph = helper.make_graph(nodes, "quantised", [x], [y], initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("isa", usable_isas())
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("per_column", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_gemm_of_8_bit_numbers_is_one_step(isa: str, turned: bool, per_column: bool, relu: bool) -> None:
    engine = ziggurat.Engine(threads=2, isa=isa)
    source = model(turned, per_column, relu)
    with ziggurat.load(source, engine=engine) as fused, ziggurat.load(source, engine=engine, optimize=False) as plain:
        assert fused.plan().steps == 1
        assert "quantized_matmul" in fused.plan().text
        for rows in (0, 1, 5, 130):
            x = np.random.default_rng(rows).integers(0, 256, (rows, INNER), dtype=np.uint8)
            got, want = fused.run({"x": x})["y"].astype(int), plain.run({"x": x})["y"].astype(int)
            assert got.shape == want.shape
            # A product that lies between two steps may go either way; few do.
            assert np.max(np.abs(got - want), initial=0) <= 1
            assert np.sum(got != want) <= 1e-3 * got.size
            assert rows < 100 or len(np.unique(want)) > 50
