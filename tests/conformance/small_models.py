"""Small nets with the patterns of real exporters, made from nothing but the onnx package and a seed.

Each maker returns a serialised model with free batch (and sequence) dimensions; weights have the scale that keeps
activations neither dying nor exploding, so that a wrong kernel anywhere shows in the output.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


class Net:
    """Writes nodes one after another; values are names."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[object] = []
        self.weights: list[object] = []

    def op(self, op_type: str, *inputs: str, **attributes: object) -> str:
        name = f"{op_type.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, array: object, dtype: type = np.float32) -> str:
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def ints(self, *values: int) -> str:
        return self.constant(values, np.int64)

    def normal(self, *shape: int, scale: float = 1.0, mean: float = 0.0) -> str:
        return self.constant(mean + scale * self.rng.standard_normal(shape))

    def model(self, inputs: Sequence[object], output: str, shape: Sequence[object]) -> bytes:
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
        graph = helper.make_graph(self.nodes, "net", inputs, outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        return model.SerializeToString()


def _conv_bn(net: Net, x: str, inputs: int, outputs: int, size: int, stride: int = 1, group: int = 1) -> str:
    fan_in = inputs // group * size * size
    weight = net.normal(outputs, inputs // group, size, size, scale=float(np.sqrt(2 / fan_in)))
    x = net.op("Conv", x, weight, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[size // 2] * 4, group=group)
    scale, variance = net.normal(outputs, scale=0.1, mean=1), net.constant(net.rng.uniform(0.5, 1.5, outputs))
    shift, mean = net.normal(outputs, scale=0.1), net.normal(outputs, scale=0.1)
    return net.op("BatchNormalization", x, scale, shift, mean, variance, epsilon=1e-5)


def residual_net() -> bytes:
    """A bottleneck block of ResNet with its projection, between a 7x7 stem and a classifier."""
    net = Net(1)
    x = net.op("Relu", _conv_bn(net, "x", 3, 24, 7, stride=2))
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for stride, width in ((1, 24), (2, 40)):
        inputs = 24 if stride == 1 else 4 * 24
        y = net.op("Relu", _conv_bn(net, x, inputs, width, 1))
        y = net.op("Relu", _conv_bn(net, y, width, width, 3, stride=stride))
        y = _conv_bn(net, y, width, 4 * width, 1)
        x = net.op("Relu", net.op("Add", y, _conv_bn(net, x, inputs, 4 * width, 1, stride=stride)))
    x = net.op("Flatten", net.op("GlobalAveragePool", x), axis=1)
    x = net.op("Gemm", x, net.normal(10, 160, scale=0.1), net.normal(10), transB=1)
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 41, 37])
    return net.model([image], x, ["batch", 10])


def inverted_residual_net() -> bytes:
    """MobileNet's blocks: expand, depthwise, project, with clipped activations and a squeeze-and-excite gate."""
    net = Net(2)
    low, high = net.constant(0.0), net.constant(6.0)
    x = net.op("Clip", _conv_bn(net, "x", 3, 16, 3, stride=2), low, high)
    for stride in (1, 2, 1):
        y = net.op("Clip", _conv_bn(net, x, 16, 48, 1), low, high)
        y = net.op("Clip", _conv_bn(net, y, 48, 48, 3, stride=stride, group=48), low, high)
        gate = net.op("ReduceMean", y, axes=[2, 3], keepdims=1)
        gate = net.op("Conv", gate, net.normal(48, 48, 1, 1, scale=0.2), net.normal(48))
        y = net.op("Mul", y, net.op("HardSigmoid", gate, alpha=1 / 6, beta=0.5))
        y = _conv_bn(net, y, 48, 16, 1)
        x = net.op("Add", x, y) if stride == 1 else y
    x = net.op("Resize", x, "", net.constant([1, 1, 2, 2]), mode="linear", coordinate_transformation_mode="half_pixel")
    x = net.op("Mul", x, net.op("Sigmoid", x))
    x = net.op(
        "ReduceMean",
        net.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        axes=[2, 3],
        keepdims=0,
    )
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 33, 35])
    return net.model([image], x, ["batch", 16])


def _linear(net: Net, x: str, inputs: int, outputs: int) -> str:
    weight = net.normal(inputs, outputs, scale=float(np.sqrt(1 / inputs)))
    return net.op("Add", net.normal(outputs, scale=0.1), net.op("MatMul", x, weight))


def _layer_norm(net: Net, x: str, width: int) -> str:
    """As exporters wrote it before opset 17 had an operator for it."""
    centred = net.op("Sub", x, net.op("ReduceMean", x, axes=[-1], keepdims=1))
    variance = net.op("ReduceMean", net.op("Pow", centred, net.constant(2.0)), axes=[-1], keepdims=1)
    deviation = net.op("Sqrt", net.op("Add", variance, net.constant(1e-12)))
    scaled = net.op("Mul", net.op("Div", centred, deviation), net.normal(width, scale=0.1, mean=1))
    return net.op("Add", scaled, net.normal(width, scale=0.1))


def _gelu(net: Net, x: str) -> str:
    erf = net.op("Erf", net.op("Div", x, net.constant(np.sqrt(2.0))))
    return net.op("Mul", net.op("Mul", x, net.op("Add", erf, net.constant(1.0))), net.constant(0.5))


def _heads(net: Net, x: str, heads: int, width: int, order: list[int]) -> str:
    """Reshapes to heads with the shape arithmetic that tracing leaves behind."""
    shape = net.op("Shape", x)
    parts = [
        net.op("Unsqueeze", net.op("Gather", shape, net.constant(i, np.int64), axis=0), net.ints(0)) for i in (0, 1)
    ]
    target = net.op("Concat", *parts, net.ints(heads), net.ints(width // heads), axis=0)
    return net.op("Transpose", net.op("Reshape", x, target), perm=order)


def encoder(layers: int = 2, width: int = 48, heads: int = 4, vocabulary: int = 300) -> bytes:
    """BERT's encoder as tracing exports it: token and position embeddings, masked attention, GELU, layer norms."""
    net = Net(3)
    length = net.op("Gather", net.op("Shape", "input_ids"), net.constant(1, np.int64), axis=0)
    positions = net.op("Range", net.constant(0, np.int64), length, net.constant(1, np.int64))
    mask = net.op("Unsqueeze", net.op("Cast", "attention_mask", to=TensorProto.FLOAT), net.ints(1, 2))
    mask = net.op("Mul", net.op("Sub", net.constant(1.0), mask), net.constant(np.finfo(np.float32).min))
    tokens = net.op("Gather", net.normal(vocabulary, width), "input_ids", axis=0)
    x = net.op("Add", tokens, net.op("Gather", net.normal(512, width), positions, axis=0))
    x = _layer_norm(net, x, width)
    for _ in range(layers):
        q = _heads(net, _linear(net, x, width, width), heads, width, [0, 2, 1, 3])
        k = _heads(net, _linear(net, x, width, width), heads, width, [0, 2, 3, 1])
        v = _heads(net, _linear(net, x, width, width), heads, width, [0, 2, 1, 3])
        scores = net.op("Div", net.op("MatMul", q, k), net.constant(np.sqrt(width / heads)))
        context = net.op("MatMul", net.op("Softmax", net.op("Add", scores, mask), axis=-1), v)
        context = net.op("Reshape", net.op("Transpose", context, perm=[0, 2, 1, 3]), net.ints(0, 0, width))
        x = _layer_norm(net, net.op("Add", _linear(net, context, width, width), x), width)
        inner = _gelu(net, _linear(net, x, width, 4 * width))
        x = _layer_norm(net, net.op("Add", _linear(net, inner, 4 * width, width), x), width)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask")
    ]
    return net.model(inputs, x, ["batch", "sequence", width])


MAKERS = {"residual_net": residual_net, "inverted_residual_net": inverted_residual_net, "encoder": encoder}
