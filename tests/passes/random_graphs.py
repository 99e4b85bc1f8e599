"""Draws models that hold what passes look for: shape arithmetic, views, folded weights, exporters' patterns."""

from __future__ import annotations

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

WIDTH = 8
CHANNELS = 4


class Builder:
    """A model in the making: values have one shape throughout, [b, 3, WIDTH] or [b, CHANNELS, 6, 6]."""

    def __init__(self, image: bool, seed: int) -> None:
        self.image = image
        self.dims: list[str | int] = ["b", CHANNELS, 6, 6] if image else ["b", 3, WIDTH]
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def const(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def scalar(self, value: float) -> str:
        return self.const(np.float32(value))

    def ints(self, *values: int) -> str:
        return self.const(np.array(values, np.int64))

    def weight(self, *shape: int) -> str:
        return self.const(self.rng.standard_normal(shape).astype(np.float32) / 2)

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def model(self, outputs: list[str]) -> bytes:
        def info(name: str) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, self.dims)

        # distinct names: an output may be the input itself, or be given twice
        last = [helper.make_node("Identity", [name], [f"y{i}"]) for i, name in enumerate(outputs)]
        wanted = [info(f"y{i}") for i in range(len(outputs))]
        graph = helper.make_graph(self.nodes + last, "random", [info("x")], wanted, self.weights)
        opset = [helper.make_opsetid("", 21)]
        return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


def _gelu(b: Builder, x: str) -> str:
    erf = b.op("Erf", b.op("Div", x, b.scalar(np.sqrt(2))))
    return b.op("Mul", b.op("Mul", x, b.op("Add", erf, b.scalar(1))), b.scalar(0.5))


def _tanh_gelu(b: Builder, x: str) -> str:
    cube = b.op("Mul", b.op("Pow", x, b.scalar(3)), b.scalar(0.044715))
    inner = b.op("Tanh", b.op("Mul", b.op("Add", x, cube), b.scalar(np.sqrt(2 / np.pi))))
    return b.op("Mul", b.op("Mul", x, b.scalar(0.5)), b.op("Add", inner, b.scalar(1)))


def _layer_norm(b: Builder, x: str) -> str:
    width = 6 if b.image else WIDTH
    centred = b.op("Sub", x, b.op("ReduceMean", x, b.ints(-1)))
    variance = b.op("ReduceMean", b.op("Pow", centred, b.scalar(2)), b.ints(-1))
    normal = b.op("Div", centred, b.op("Sqrt", b.op("Add", variance, b.scalar(1e-5))))
    return b.op("Add", b.op("Mul", normal, b.weight(width)), b.weight(width))


def _shape_arithmetic(b: Builder, x: str) -> str:
    """Flattens to two axes and comes back by a target computed from the input's shape."""
    rank = len(b.dims)
    shape = b.op("Shape", x)
    first = b.op("Unsqueeze", b.op("Gather", shape, b.const(np.int64(0))), b.ints(0))
    rest = b.ints(*[int(d) for d in b.dims[1:]])
    flat = b.op("Reshape", x, b.op("Concat", first, b.ints(-1), axis=0))
    back = b.op("Concat", b.op("Slice", shape, b.ints(0), b.ints(1)), rest, axis=0)
    assert rank >= 3
    return b.op("Reshape", b.op("Relu", flat), back)


def _transposed(b: Builder, x: str) -> str:
    perm = list(b.rng.permutation(len(b.dims)))
    back = [perm.index(i) for i in range(len(perm))]
    turned = b.op("Transpose", x, perm=perm)
    if b.rng.integers(2):
        turned = b.op("Neg", turned)
    return b.op("Transpose", turned, perm=back)


def _tokens(b: Builder, x: str) -> str:
    """Places become one axis behind a Transpose, and axes again, with something element-wise in between."""
    if b.image:
        tokens = b.op("Reshape", b.op("Transpose", x, perm=[0, 2, 3, 1]), b.ints(0, 36, CHANNELS))
        back, shape = [0, 2, 1], (0, CHANNELS, 6, 6)
    else:
        tokens = b.op("Reshape", b.op("Transpose", x, perm=[0, 2, 1]), b.ints(0, 2, 4, 3))
        back, shape = [0, 3, 1, 2], (0, 3, WIDTH)
    if b.rng.integers(2):
        tokens = b.op("Mul", b.op("Sin", tokens), b.scalar(0.75))
    return b.op("Reshape", b.op("Transpose", tokens, perm=back), b.ints(*shape))


def _folded(b: Builder, x: str) -> str:
    """A constant made of constants, among them a Transpose."""
    width = 6 if b.image else WIDTH
    total = b.op("Add", b.op("Transpose", b.weight(width, 1)), b.op("Exp", b.weight(1, width)))
    return b.op("Mul", x, total)


def _twins(b: Builder, x: str) -> str:
    weight = b.weight(1)
    return b.op("Add", b.op("Tanh", b.op("Mul", x, weight)), b.op("Tanh", b.op("Mul", x, weight)))


def _no_ops(b: Builder, x: str) -> str:
    x = b.op("Cast", b.op("Cast", b.op("Identity", x), to=TensorProto.DOUBLE), to=TensorProto.FLOAT)
    x = b.op("Sub", b.op("Mul", x, b.scalar(1)), b.scalar(0))
    x = b.op("Squeeze", b.op("Unsqueeze", x, b.ints(1)), b.ints(1))
    return b.op("Slice", b.op("Concat", x, axis=1), b.ints(0), b.ints(1000), b.ints(1))


def _gate(b: Builder, x: str) -> str:
    inner = b.op("Mul", x, b.scalar(1.702)) if b.rng.integers(2) else x
    return b.op("Mul", x, b.op("Sigmoid", inner))


def _activation(b: Builder, x: str) -> str:
    kind = b.rng.choice(["Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Clip", "Gelu"])
    return b.op("Clip", x, b.scalar(-0.5), b.scalar(0.75)) if kind == "Clip" else b.op(str(kind), x)


def _elements(b: Builder, x: str) -> str:
    """A few element-wise operations that meet each other, scalars, vectors, one value a row and themselves."""
    width = 6 if b.image else WIDTH
    made = [x]
    for _ in range(int(b.rng.integers(2, 8))):
        a, c = (made[int(b.rng.integers(len(made)))] for _ in range(2))
        kind = b.rng.choice(
            ["Tanh", "Abs", "Neg", "Sin", "Softplus", "Add", "Sub", "Mul", "Max", "Where", "Clip", "Mean"]
        )
        if kind in ("Tanh", "Abs", "Neg", "Sin", "Softplus"):
            made.append(b.op(str(kind), a))
        elif kind == "Where":
            made.append(b.op("Where", b.op("Less", a, b.weight(width)), b.scalar(0.25), c))
        elif kind == "Clip":
            made.append(b.op("Clip", a, b.scalar(-0.75)))
        else:
            other = [c, b.scalar(0.5), b.weight(width), b.weight(int(b.dims[-2]), 1)][int(b.rng.integers(4))]
            made.append(b.op(str(kind), a, other))
    return b.op("Add", made[-1], made[-2])


def _product(b: Builder, x: str) -> str:
    """MatMul or Conv, then perhaps a bias, a residual and an activation."""
    if b.image:
        side = int(b.rng.choice([1, 3]))
        y = b.op("Conv", x, b.weight(CHANNELS, CHANNELS, side, side), pads=[side // 2] * 4)
        bias = (CHANNELS, 1, 1)
    else:
        y = b.op("MatMul", x, b.weight(WIDTH, WIDTH))
        bias = (WIDTH,)
    if b.rng.integers(2):
        y = b.op("Add", y, b.weight(*bias))
    if b.rng.integers(2):
        y = b.op("Add", x, y)
    return _activation(b, y) if b.rng.integers(2) else y


def _siblings(b: Builder, x: str) -> str:
    """Products of one value, with biases or none."""
    width, biased = 6 if b.image else WIDTH, bool(b.rng.integers(2))
    made = [b.op("MatMul", x, b.weight(width, width)) for _ in range(3)]
    if biased:
        made = [b.op("Add", y, b.weight(width)) for y in made]
    return b.op("Add", b.op("Mul", made[0], made[1]), made[2])


def _conv_norm(b: Builder, x: str) -> str:
    """Conv with what can be folded into it; elsewhere a plain product."""
    if not b.image:
        return _product(b, x)
    y = b.op("Conv", x, b.weight(CHANNELS, CHANNELS, 1, 1), b.weight(CHANNELS))
    if b.rng.integers(2):
        positive = b.const(b.rng.uniform(0.5, 2, CHANNELS).astype(np.float32))
        y = b.op("BatchNormalization", y, b.weight(CHANNELS), b.weight(CHANNELS), b.weight(CHANNELS), positive)
    return b.op("Mul", y, b.weight(CHANNELS, 1, 1))


def _attention(b: Builder, x: str) -> str:
    """Over the whole image's rows, or over places with two heads; scaled and masked in one of several spellings."""
    heads = x if b.image else b.op("Reshape", x, b.ints(0, 0, 2, WIDTH // 2))
    query = heads if b.image else b.op("Transpose", heads, perm=[0, 2, 1, 3])
    keys = b.op("Transpose", heads, perm=[0, 1, 3, 2] if b.image else [0, 2, 3, 1])
    spelling = b.rng.integers(3)
    if spelling == 0:
        scores = b.op("MatMul", b.op("Mul", query, b.scalar(0.7)), b.op("Mul", keys, b.scalar(0.7)))
    else:
        scores = b.op("Div", b.op("MatMul", query, keys), b.scalar(2))
    count = 6 if b.image else 3
    if spelling == 1:
        scores = b.op("Add", scores, b.weight(1, 1, count, count))
    elif spelling == 2:
        seen = b.const(np.tril(np.ones((count, count), bool)))
        scores = b.op("Where", seen, scores, b.scalar(np.finfo(np.float32).min))
    y = b.op("MatMul", b.op("Softmax", scores, axis=-1), query)
    if b.image:
        return y
    return b.op("Reshape", b.op("Transpose", y, perm=[0, 2, 1, 3]), b.ints(0, 0, WIDTH))


STEPS = (
    _attention, _gelu, _tanh_gelu, _layer_norm, _shape_arithmetic, _transposed, _tokens, _folded, _twins, _no_ops,
    _gate, _activation, _elements, _elements, _siblings, _product, _product, _conv_norm,
)  # fmt: skip


@st.composite
def models(draw: st.DrawFn) -> tuple[bytes, np.ndarray]:
    """A model's file and its input."""
    seed = draw(st.integers(0, 2**16))
    builder = Builder(draw(st.booleans()), seed)
    values = ["x"]
    for step in draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=6)):
        # mostly a chain, with a branch now and then: passes must see values that are read twice
        source = values[-1] if draw(st.integers(0, 3)) else draw(st.sampled_from(values))
        values.append(step(builder, source))
    outputs = [values[-1]] + ([draw(st.sampled_from(values))] if draw(st.booleans()) else [])
    shape = [draw(st.integers(1, 3)), *[int(d) for d in builder.dims[1:]]]
    x = np.random.default_rng(seed + 1).standard_normal(shape).astype(np.float32)
    return builder.model(outputs), x
