"""Convolutions write straight into the Concat that joins them: the same bits as with parts that are copied together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import ziggurat
from tests.conformance.engines import ISAS

RANDOM = np.random.default_rng(11)


def branches(widths: list[int], kernels: list[int], extra: str = "") -> bytes:
    """Convolutions of one input, joined by channels. `extra`: "twice" joins the first part twice, "read" gives it a
    second reader, "output" makes it an output, "pool" adds a part that no convolution makes."""
    nodes, weights, parts = [], [], []
    for i, (width, kernel) in enumerate(zip(widths, kernels, strict=True)):
        weights.append(
            numpy_helper.from_array(RANDOM.standard_normal((width, 20, kernel, kernel), np.float32), f"w{i}")
        )
        weights.append(numpy_helper.from_array(RANDOM.standard_normal(width).astype(np.float32), f"b{i}"))
        pads = [kernel // 2] * 4
        nodes.append(helper.make_node("Conv", ["a", f"w{i}", f"b{i}"], [f"c{i}"], pads=pads))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        parts.append(f"r{i}")
    weights.append(numpy_helper.from_array(RANDOM.standard_normal((20, 3, 1, 1), np.float32), "w"))
    nodes.insert(0, helper.make_node("Conv", ["x", "w"], ["a"]))
    outputs = ["y"]
    if extra == "twice":
        parts.append("r0")
    if extra == "pool":
        nodes.append(helper.make_node("MaxPool", ["a"], ["p"], kernel_shape=[3, 3], pads=[1] * 4))
        parts.insert(1, "p")
    if extra == "read":
        nodes.append(helper.make_node("Sigmoid", ["r0"], ["s"]))
        outputs.append("s")
    if extra == "output":
        outputs.append("r0")
    nodes.append(helper.make_node("Concat", parts, ["joined"], axis=1))
    nodes.append(helper.make_node("AveragePool", ["joined"], ["y"], kernel_shape=[2, 2]))
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 17, 13])
    shown = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "branches", [image], shown, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()  # type: ignore[no-any-return]


CASES: dict[str, tuple[list[int], list[int], str, int]] = {  # widths, kernels, extra, parts placed at least
    "two": ([16, 24], [1, 1], "", 2),
    "odd widths": ([5, 17, 1], [1, 1, 1], "", 3),
    "larger kernels": ([64, 48, 33], [1, 3, 5], "", 3),
    "a part that is copied": ([9, 30], [1, 1], "pool", 2),
    "a part joined twice": ([9, 30], [1, 1], "twice", 1),
    "a part with another reader": ([9, 30], [1, 1], "read", 1),
    "a part that is an output": ([9, 30], [1, 1], "output", 1),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("case", CASES)
def test_parts_have_the_bits_of_copies(case: str, isa: str) -> None:
    widths, kernels, extra, placed = CASES[case]
    content = branches(widths, kernels, extra)
    with ziggurat.Engine(threads=2, isa=isa) as engine:
        model = ziggurat.load(content, engine=engine)
        copied = ziggurat.load(content, engine=engine, keep_constants=True)
        text = model.plan().text
        assert text.count("part of %") >= placed and "part of %" not in copied.plan().text, text
        if extra in ("twice", "read", "output"):
            assert text.count("part of %") == placed, text
        for batch in (1, 3, 2):
            x = RANDOM.standard_normal((batch, 3, 17, 13), np.float32)
            got, want = model.run({"x": x}), copied.run({"x": x})
            for name, array in want.items():
                np.testing.assert_array_equal(bits(got[name]), bits(array), name)
        alone = ziggurat.load(content, engine=engine, threads=1).run({"x": x})
        for name, array in alone.items():
            np.testing.assert_array_equal(bits(got[name]), bits(array), name)


def bits(array: Any) -> Any:
    return array.view(np.uint32)
