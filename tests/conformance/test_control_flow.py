"""Control flow and shapes that only running can tell, on every device, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import GraphProto, TensorProto, helper, numpy_helper

from tests.conformance.engines import Feeds, onnxruntime_outputs
from ziggurat.errors import InvalidArgument

DEVICES = ("cpu", "reference")
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
tensor, node = helper.make_tensor_value_info, helper.make_node


def model(graph: GraphProto) -> bytes:
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return made.SerializeToString()


def constant(name: str, array: object, dtype: type = np.float32) -> object:
    return numpy_helper.from_array(np.asarray(array, dtype), name)


def if_model() -> bytes:
    """A branch that captures from outside, chosen by the input's sum."""
    then = helper.make_graph([node("Mul", ["x", "two"], ["t"])], "then", [], [tensor("t", FLOAT, None)])
    other = helper.make_graph([node("Sub", ["x", "two"], ["e"])], "else", [], [tensor("e", FLOAT, None)])
    nodes = [
        node("ReduceSum", ["x"], ["sum"], keepdims=0),
        node("Greater", ["sum", "zero"], ["positive"]),
        node("If", ["positive"], ["y"], then_branch=then, else_branch=other),
    ]
    weights = [constant("two", 2), constant("zero", 0)]
    return model(helper.make_graph(nodes, "if", [tensor("x", FLOAT, ["n"])], [tensor("y", FLOAT, ["n"])], weights))


def loop_model() -> bytes:
    """Doubles a carried value until it is large, gathering each on the way; stops before the trip count."""
    body = helper.make_graph(
        [
            node("Add", ["v", "v"], ["next"]),
            node("ReduceMax", ["next"], ["top"], keepdims=0),
            node("Less", ["top", "limit"], ["go"]),
            node("Identity", ["next"], ["seen"]),
        ],
        "body",
        [tensor("i", INT64, []), tensor("on", BOOL, []), tensor("v", FLOAT, ["n"])],
        [tensor("go", BOOL, []), tensor("next", FLOAT, ["n"]), tensor("seen", FLOAT, ["n"])],
    )
    nodes = [node("Loop", ["trips", "", "x"], ["y", "all"], body=body)]
    weights = [constant("trips", 20, np.int64), constant("limit", 100)]
    outputs = [tensor("y", FLOAT, ["n"]), tensor("all", FLOAT, ["k", "n"])]
    return model(helper.make_graph(nodes, "loop", [tensor("x", FLOAT, ["n"])], outputs, weights))


def nonzero_model() -> bytes:
    nodes = [node("NonZero", ["x"], ["at"]), node("Transpose", ["at"], ["t"]), node("GatherND", ["x", "t"], ["y"])]
    outputs = [tensor("at", INT64, [2, "k"]), tensor("y", FLOAT, ["k"])]
    return model(helper.make_graph(nodes, "nonzero", [tensor("x", FLOAT, ["n", "m"])], outputs))


def scan_model(in_axes: list[int], in_backwards: list[int], out_axes: list[int], out_backwards: list[int]) -> bytes:
    """A running sum over one input, weighted by another; states and captures as well."""
    body = helper.make_graph(
        [
            node("Mul", ["a", "b"], ["ab"]),
            node("Mul", ["ab", "scale"], ["scaled"]),
            node("Add", ["s", "scaled"], ["s_next"]),
            node("Sub", ["s_next", "a"], ["left"]),
            node("Identity", ["s_next"], ["right"]),
        ],
        "body",
        [tensor("s", FLOAT, ["n"]), tensor("a", FLOAT, ["n"]), tensor("b", FLOAT, ["n"])],
        [tensor("s_next", FLOAT, ["n"]), tensor("left", FLOAT, ["n"]), tensor("right", FLOAT, ["n"])],
    )
    attributes = {
        "num_scan_inputs": 2, "scan_input_axes": in_axes, "scan_input_directions": in_backwards,
        "scan_output_axes": out_axes, "scan_output_directions": out_backwards,
    }  # fmt: skip
    nodes = [node("Scan", ["start", "p", "q"], ["end", "left_all", "right_all"], body=body, **attributes)]
    inputs = [tensor("start", FLOAT, ["n"]), tensor("p", FLOAT, ["i", "j"]), tensor("q", FLOAT, ["k", "l"])]
    outputs = [tensor("end", FLOAT, None), tensor("left_all", FLOAT, None), tensor("right_all", FLOAT, None)]
    return model(helper.make_graph(nodes, "scan", inputs, outputs, [constant("scale", 0.5)]))


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def scan_feeds(in_axes: list[int]) -> Feeds:
    shapes = [(5, 3) if axis == 0 else (3, 5) for axis in in_axes]
    return {"start": numbers(3), "p": numbers(*shapes[0], seed=1), "q": numbers(*shapes[1], seed=2)}


CASES: dict[str, tuple[Callable[[], bytes], list[Feeds]]] = {
    "if": (if_model, [{"x": numbers(4) + 3}, {"x": numbers(7) - 3}]),
    "loop": (loop_model, [{"x": np.abs(numbers(3)) + 1}, {"x": np.full(2, 300, np.float32)}]),
    "nonzero": (nonzero_model, [{"x": np.maximum(numbers(4, 5), 0)}, {"x": np.zeros((2, 2), np.float32)}]),
    "scan": (lambda: scan_model([0, 0], [0, 0], [0, 0], [0, 0]), [scan_feeds([0, 0])]),
    "scan backwards": (lambda: scan_model([0, 0], [1, 0], [0, 0], [0, 1]), [scan_feeds([0, 0])]),
    "scan along the last axis": (lambda: scan_model([1, -1], [0, 1], [1, -1], [1, 0]), [scan_feeds([1, 1])]),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", list(CASES))
def test_control_flow(name: str, device: str) -> None:
    import ziggurat

    make, all_feeds = CASES[name]
    loaded = ziggurat.load(make(), device=device, engine=ziggurat.Engine(threads=1))
    for feeds in all_feeds:
        got, want = loaded.run(feeds), onnxruntime_outputs(make(), feeds)
        for key, value in want.items():
            assert got[key].dtype == value.dtype, key
            assert got[key].shape == value.shape, key
            np.testing.assert_allclose(got[key], value, rtol=1e-6, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("device", DEVICES)
def test_scanned_inputs_of_other_lengths_are_refused_by_name(device: str) -> None:
    import ziggurat

    loaded = ziggurat.load(scan_model([0, 0], [0, 0], [0, 0], [0, 0]), device=device)
    feeds = {"start": numbers(3), "p": numbers(5, 3), "q": numbers(4, 3)}
    with pytest.raises(InvalidArgument, match=r"lengths? .*5.*4|4.*5|'[ik]'"):
        loaded.run(feeds)


def test_a_scan_of_nothing_gives_the_start() -> None:
    import ziggurat

    loaded = ziggurat.load(scan_model([0, 0], [0, 0], [0, 0], [0, 0]))
    got = loaded.run({"start": numbers(3), "p": numbers(0, 3), "q": numbers(0, 3)})
    assert np.array_equal(got["end"], numbers(3))
    assert got["left_all"].size == 0
