"""Parts of tensors lie in what a Concat joins and a Split cuts: the same bits as with parts that are copied."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import ziggurat
from tests.conformance.engines import ISAS
from ziggurat.cli.drawing import svg

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
    "a part joined twice": ([9, 30], [1, 1], "twice", 2),
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


class Net:
    """A convolutional net in the making; values are [n, channels, 17, 13], channels as given with each name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.channels = {"x": 3}

    def const(self, array: Any) -> str:
        self.weights.append(numpy_helper.from_array(array, f"w{len(self.weights)}"))
        return str(self.weights[-1].name)

    def op(self, kind: str, *inputs: str, channels: int, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        self.channels[name] = channels
        return name

    def conv(self, x: str, channels: int, kernel: int = 1, depthwise: bool = False) -> str:
        inside = 1 if depthwise else self.channels[x]
        w = self.const(RANDOM.standard_normal((channels, inside, kernel, kernel), np.float32))
        group = channels if depthwise else 1
        return self.op("Conv", x, w, channels=channels, pads=[kernel // 2] * 4, group=group)

    def norm(self, x: str) -> str:
        c = self.channels[x]
        values = [self.const(RANDOM.random(c, np.float32) + 0.5) for _ in range(4)]
        return self.op("Relu", self.op("BatchNormalization", x, *values, channels=c), channels=c)

    def join(self, *parts: str) -> str:
        return self.op("Concat", *parts, channels=sum(self.channels[p] for p in parts), axis=1)

    def cut(self, x: str, first: int, slices: bool = False) -> tuple[str, str]:
        c = self.channels[x]
        if slices:
            axis = self.const(np.array([1]))
            ends = [self.const(np.array([at])) for at in (0, first, c)]
            left = self.op("Slice", x, ends[0], ends[1], axis, channels=first)
            return left, self.op("Slice", x, ends[1], ends[2], axis, channels=c - first)
        left, right = f"l{len(self.nodes)}", f"r{len(self.nodes)}"
        sizes = self.const(np.array([first, c - first]))
        self.nodes.append(helper.make_node("Split", [x, sizes], [left, right], axis=1))
        self.channels |= {left: first, right: c - first}
        return left, right

    def add(self, a: str, b: str) -> str:
        return self.op("Add", a, b, channels=self.channels[a])

    def model(self, *outputs: str) -> bytes:
        image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 17, 13])
        shown = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", [image], shown, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        return model.SerializeToString()  # type: ignore[no-any-return]


def dense_block(net: Net, growth: int = 7) -> bytes:
    """Each layer reads all before it: the prefixes of one tensor."""
    x = net.op("MaxPool", net.conv("x", 19), channels=19, kernel_shape=[3, 3], pads=[1] * 4)
    for _ in range(4):
        x = net.join(x, net.conv(net.conv(net.norm(x), 24), growth, 3))
    return net.model(net.norm(x))


def wide_dense_block(net: Net) -> bytes:
    """Rows so long that tiles lie within them."""
    x = net.conv("x", 290)
    for _ in range(2):
        x = net.join(x, net.conv(net.norm(x), 33))
    return net.model(net.conv(x, 5))


def cut_and_joined(net: Net, slices: bool = False) -> bytes:
    """As YOLO's C2f: halves of a tensor, and what grows out of the second one, all joined again."""
    left, right = net.cut(net.conv("x", 37), 16, slices)
    parts = [left, right]
    for _ in range(2):
        inner = net.conv(net.conv(parts[-1], 21, 3), 21, 3)
        parts.append(net.add(parts[-1], net.op("Sigmoid", inner, channels=21)))
    return net.model(net.conv(net.join(*parts), 8))


def half_passes_by(net: Net) -> bytes:
    """As ShuffleNet V2's unit: one half is computed with, the other is joined as it is."""
    x = net.conv("x", 30)
    for _ in range(2):
        left, right = net.cut(x, 13, slices=True)
        right = net.conv(net.conv(net.conv(right, 17), 17, 3, depthwise=True), 17)
        x = net.op("Relu", net.join(left, right), channels=30)
    return net.model(net.conv(x, 4))


def pyramid(net: Net) -> bytes:
    """Pools of pools, all of them joined."""
    parts = [net.conv("x", 9)]
    for _ in range(3):
        parts.append(net.op("MaxPool", parts[-1], channels=9, kernel_shape=[5, 5], pads=[2] * 4))
    return net.model(net.conv(net.join(*parts), 6))


def residual(net: Net) -> bytes:
    """A part that is a convolution's residual, twice."""
    left, right = net.cut(net.conv("x", 40), 17)
    a = net.op("Relu", net.add(net.conv(right, 23, 3), right), channels=23)
    b = net.op("Relu", net.add(net.conv(right, 23, 5), right), channels=23)
    return net.model(net.conv(net.join(a, left, b), 4))


def shown(net: Net) -> bytes:
    """One part leaves the model, so it must be dense; the other does not."""
    left, right = net.cut(net.conv("x", 40), 17)
    return net.model(net.conv(right, 8, 3), left)


NETS: dict[str, tuple[Any, int, int]] = {  # parts and columns at least
    "a dense block": (dense_block, 8, 0),
    "a wide dense block": (wide_dense_block, 3, 0),
    "cut and joined": (cut_and_joined, 3, 2),
    "cut by slices": (lambda net: cut_and_joined(net, True), 3, 2),
    "half passes by": (half_passes_by, 2, 4),
    "pools of pools": (pyramid, 4, 0),
    "residuals": (residual, 2, 2),
    "an output": (shown, 0, 0),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", NETS)
def test_nets_of_parts_have_the_bits_of_copies(name: str, isa: str) -> None:
    make, parts, columns = NETS[name]
    content = make(Net())
    with ziggurat.Engine(threads=2, isa=isa) as engine:
        model = ziggurat.load(content, engine=engine)
        copied = ziggurat.load(content, engine=engine, keep_constants=True)
        text = model.plan().text
        assert text.count(", part of %") >= parts and text.count(", columns of %") >= columns, text
        for batch in (1, 3, 2):
            x = RANDOM.standard_normal((batch, 3, 17, 13), np.float32)
            x[0, :, 5, 6] = np.nan
            got, want = model.run({"x": x}), copied.run({"x": x})
            for output, array in want.items():
                np.testing.assert_array_equal(bits(got[output]), bits(array), output)
        alone = model.run({"x": x[1:]})
        for output, array in alone.items():
            np.testing.assert_array_equal(bits(got[output][1:]), bits(array), output)


def test_drawings_say_what_lies_where() -> None:
    plan = ziggurat.load(cut_and_joined(Net())).plan()
    places = [place for row in plan.graph for place in row["places"]]
    picture = svg(plan.graph)
    assert any(place.startswith("part of %") for place in places), places
    for place in places:
        assert ("<title>" + place + "</title>" in picture) == (" of %" in place), place
    assert picture.count("stroke-dasharray") == picture.count("<title>") > 0


def test_splits_in_bodies_of_if_have_the_bits_of_copies() -> None:
    def body(name: str, axis: int) -> Any:
        split = helper.make_node("Split", ["m"], [f"{name}a", f"{name}b"], axis=axis)
        total = helper.make_node("Sub", [f"{name}a", f"{name}b"], [f"{name}y"])
        shape = helper.make_tensor_value_info(f"{name}y", TensorProto.FLOAT, None)
        return helper.make_graph([split, total], name, [], [shape])

    nodes = [
        helper.make_node("Mul", ["x", "x"], ["s"]),
        helper.make_node("Split", ["s"], ["m", "unused"], axis=0),
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["i"], then_branch=body("t", 0), else_branch=body("e", 0)),
        helper.make_node("Relu", ["i"], ["y"]),
    ]
    zero = numpy_helper.from_array(np.float32(0), "zero")
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, "n"])]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "branches", inputs, [output], [zero])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    model, copied = ziggurat.load(content), ziggurat.load(content, keep_constants=True)
    assert ", rows of %" in model.plan().text
    for sign in (1, -1):
        x = sign * RANDOM.random((8, 5), np.float32)
        np.testing.assert_array_equal(model.run({"x": x})["y"], copied.run({"x": x})["y"])
        np.testing.assert_array_equal(model.run({"x": x})["y"], np.maximum(0, (x * x)[:2] - (x * x)[2:4]))


def bits(array: Any) -> Any:
    return array.view(np.uint32)
