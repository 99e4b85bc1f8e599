"""The harness itself: it must see one wrong bit, wherever it comes from."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import ziggurat
from tests.conformance.batch_invariance import assert_rows_stand_alone, assert_same_bits
from tests.conformance.engines import Feeds

FEEDS = {"x": np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)}


def rowwise(feeds: Feeds) -> Feeds:
    return {"y": feeds["x"] * np.float32(3)}


def test_a_computation_by_rows_passes() -> None:
    assert_rows_stand_alone(rowwise, FEEDS)


def test_one_bit_that_depends_on_the_size_of_the_batch_is_seen() -> None:
    def last_bit(feeds: Feeds) -> Feeds:
        y = rowwise(feeds)["y"]
        if len(y) == 1:
            y.view(np.int32)[0, 3] ^= 1
        return {"y": y}

    with pytest.raises(AssertionError, match=r"as \[0\], y: rows \[0\] differ"):
        assert_rows_stand_alone(last_bit, FEEDS)


def test_one_bit_that_depends_on_the_place_in_the_batch_is_seen() -> None:
    def by_place(feeds: Feeds) -> Feeds:
        y = rowwise(feeds)["y"]
        if len(y) == 2:
            y.view(np.int32)[1, 0] ^= 1
        return {"y": y}

    with pytest.raises(AssertionError, match=r"as \[2, 0\], y: rows \[1\] differ"):
        assert_rows_stand_alone(by_place, FEEDS)


def test_the_sign_of_zero_counts_and_a_nan_equals_itself() -> None:
    zero, minus = np.zeros((3, 1), np.float32), -np.zeros((3, 1), np.float32)
    nan = np.full((3, 1), np.nan, np.float32)
    assert_same_bits({"a": lambda _: {"y": nan}, "b": lambda _: {"y": nan.copy()}}, {})
    with pytest.raises(AssertionError, match="a and b: y: rows"):
        assert_same_bits({"a": lambda _: {"y": zero}, "b": lambda _: {"y": minus}}, {})


def test_a_count_of_what_all_rows_hold_is_not_the_same_for_each() -> None:
    helper = onnx.helper
    nodes = [
        helper.make_node("NonZero", ["x"], ["found"]),
        helper.make_node("Shape", ["found"], ["extents"], start=1),
        helper.make_node("Cast", ["extents"], ["count"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "count"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["b", 4]) for name in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    with ziggurat.load(model.SerializeToString()) as loaded:
        assert not loaded.batching().independent
