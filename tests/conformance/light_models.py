"""The nine topologies that come with the onnx package, with weights drawn so that the output depends on the input.

As shipped, every weight is one constant and the net answers the same to everything. Here each weight is drawn for
what it does: kernels at He's scale (a ReLU layer keeps the variance of activations), normalisation parameters around
identity. The batch becomes free, and a final Softmax goes, since a saturated one would hide every difference.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

NAMES = (
    "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50",
    "shufflenet", "squeezenet", "vgg19", "zfnet512",
)  # fmt: skip
# light enough for the quick tier: under 0.5 GFLOP for one picture
QUICK = ("shufflenet", "squeezenet")

# op -> what each input is, by position
ROLES = {
    "BatchNormalization": {1: "scale", 2: "shift", 3: "shift", 4: "variance"},
    "Conv": {1: "kernel", 2: "shift"},
    "Gemm": {1: "matrix", 2: "shift"},
    "Mul": {0: "scale", 1: "scale"},
    "Add": {0: "shift", 1: "shift"},
}


class _Topology:
    """A light model's graph, and who uses what."""

    def __init__(self, name: str) -> None:
        folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
        self.proto = onnx.load(folder / f"light_{name}.onnx")
        self.graph = self.proto.graph
        self.stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.graph.initializer}
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))

    def role(self, value: str) -> tuple[str, onnx.NodeProto]:
        """What a weight is for, seen through the reshapes that bring it into place."""
        for node in self.graph.node:
            if value in node.input:
                if node.op_type in ("Unsqueeze", "Reshape"):
                    return self.role(node.output[0])
                return ROLES[node.op_type][list(node.input).index(value)], node
        raise KeyError(value)

    def draw(self, value: str, shape: tuple[int, ...]) -> np.ndarray:
        role, node = self.role(value)
        noise = self.rng.standard_normal(shape)
        if role == "scale":
            drawn = 1 + 0.1 * noise
        elif role == "variance":
            drawn = 1 + 0.2 * np.abs(noise)
        elif role == "shift":
            drawn = 0.1 * noise
        else:
            transposed = any(a.name == "transB" and a.i for a in node.attribute)
            inputs = shape[0] if role == "matrix" and not transposed else int(np.prod(shape[1:]))
            drawn = noise * np.sqrt(2 / inputs)
        return drawn.astype(np.float32)


def _free(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    tensor = value.type.tensor_type
    dims = ["batch", *(d.dim_value for d in tensor.shape.dim[1:])]
    return helper.make_tensor_value_info(value.name, tensor.elem_type, dims)


def make(name: str) -> bytes:
    """The serialised model; the same bytes each time."""
    topology = _Topology(name)
    stored, weights, nodes = dict(topology.stored), {}, []
    for node in topology.graph.node:
        if node.op_type == "ConstantOfShape":
            weights[node.output[0]] = topology.draw(node.output[0], tuple(stored[node.input[0]]))
        else:
            nodes.append(node)
    for node in nodes:
        target = node.input[1] if node.op_type == "Reshape" else None
        if target in stored and node.input[0] not in stored and node.input[0] not in weights:
            stored[target] = np.array([0, *stored[target][1:]], np.int64)  # 0 keeps the batch
    outputs = [_free(value) for value in topology.graph.output]
    if nodes[-1].op_type == "Softmax":
        outputs[0].name = nodes.pop().input[0]
    used = {value for node in nodes for value in node.input}
    tensors = [numpy_helper.from_array(array, key) for key, array in {**stored, **weights}.items() if key in used]
    known = {tensor.name for tensor in tensors}
    inputs = [_free(value) for value in topology.graph.input if value.name in used - known]
    graph = helper.make_graph(nodes, name, inputs, outputs, tensors)
    proto = helper.make_model(graph, opset_imports=topology.proto.opset_import, ir_version=4)
    return proto.SerializeToString()
