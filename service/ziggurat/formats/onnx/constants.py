"""Constant nodes, in all the forms their attributes have."""

from __future__ import annotations

import numpy as np

from ziggurat.errors import InvalidModel
from ziggurat.formats.onnx import dtypes
from ziggurat.formats.onnx.builder import Builder
from ziggurat.formats.onnx.tensors import Tensors, TensorValue
from ziggurat.formats.onnx.values import Node, SparseRef, Value


def import_constant(tensors: Tensors, builder: Builder, node: Node) -> int:
    """The node's value as a constant of the builder's graph."""
    if len(node.attributes) != 1 or len(node.outputs) != 1:
        raise InvalidModel(
            f"has {len(node.attributes)} values and {len(node.outputs)} outputs, expected one of each",
            node=node.name,
            op=node.op,
        )
    (value,) = node.attributes.values()
    return tensors.add(builder, node.outputs[0], _tensor(value, node))


def _tensor(value: Value, node: Node) -> TensorValue:
    match value:
        case TensorValue():
            return value
        case SparseRef():
            return value.dense
        case int():
            return TensorValue(dtypes.INT64, [], np.array(value, "<i8").tobytes())
        case float():
            return TensorValue(dtypes.FLOAT, [], np.array(value, "<f4").tobytes())
        case bytes():
            return TensorValue(dtypes.STRING, [], [value])
        case ("ints", items):
            return TensorValue(dtypes.INT64, [len(items)], np.array(items, "<i8").tobytes())
        case ("floats", items):
            return TensorValue(dtypes.FLOAT, [len(items)], np.array(items, "<f4").tobytes())
        case ("strings", list(items)):
            return TensorValue(dtypes.STRING, [len(items)], [item for item in items if isinstance(item, bytes)])
    raise InvalidModel("its value is not a tensor", node=node.name, op=node.op)
