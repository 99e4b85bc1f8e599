"""Softmax and the normalisations, whose axes, scales and outputs have changed meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ziggurat.formats.onnx.emit import Emit
from ziggurat.formats.onnx.values import Node

if TYPE_CHECKING:
    from ziggurat.formats.onnx.adapters import Adapter


def softmax(node: Node, emit: Emit) -> list[int] | None:
    """Softmax, LogSoftmax, Hardmax ran over all axes from `axis` on, as if they were one."""
    axis = node.pop_int("axis", 1)
    value = node.input(0)
    if axis == -1 or emit.rank(value) == axis + 1:
        node.attributes["axis"] = -1
        return None
    flat = emit.one("Flatten", [value], {"axis": axis})
    result = emit.one(node.op, [flat], {"axis": -1})
    return emit.node("Reshape", [result, emit.one("Shape", [value])], {"allowzero": 1}, node.outputs)


def batch_normalization_per_element(node: Node, emit: Emit) -> list[int] | None:
    """spatial=0: scale and statistics of every element of an item, so that the op is plain arithmetic."""
    if node.pop_int("spatial", 1) != 0:
        return None
    if any(node.has_output(i) for i in range(1, 5)):
        raise node.unsupported("training outputs together with spatial=0")
    x, scale, bias, mean, variance = node.inputs[:5]
    epsilon = node.pop_float("epsilon")
    shifted = emit.one("Add", [variance, emit.scalar(1e-5 if epsilon is None else epsilon, emit.dtype(x), "epsilon")])
    normal = emit.one("Div", [emit.one("Sub", [x, mean]), emit.one("Sqrt", [shifted])])
    return emit.node("Add", [emit.one("Mul", [normal, scale]), bias], outputs=node.outputs[:1])


def batch_normalization_outputs(node: Node, emit: Emit) -> list[int] | None:
    """More than one output meant training. The batch's own mean and variance, outputs 3 and 4, exist no more."""
    if not any(node.has_output(i) for i in range(1, 5)):
        node.outputs = node.outputs[:1]
        return None
    node.attributes["training_mode"] = 1
    names = [name or f"{node.name}/{role}" for name, role in zip(node.outputs, ("y", "mean", "var"), strict=False)]
    ids = emit.node("BatchNormalization", node.inputs, node.attributes, names)
    if not (node.has_output(3) or node.has_output(4)):
        return ids
    x, rank = node.input(0), emit.rank(node.input(0))
    if rank is None:
        raise node.unsupported("training outputs of an input whose rank is not known")
    others = emit.ints([axis for axis in range(rank) if axis != 1], "batch_axes")
    kept = emit.one("ReduceMean", [x, others])
    centred = emit.one("Sub", [x, kept])
    variance = emit.one("ReduceMean", [emit.one("Mul", [centred, centred]), others], {"keepdims": 0})
    return [*ids, emit.one("ReduceMean", [x, others], {"keepdims": 0}), variance]


def group_normalization(node: Node, emit: Emit) -> None:
    """scale and bias had one element a group, now they have one a channel."""
    groups = node.pop_int("num_groups", 1)
    node.attributes["num_groups"] = groups
    if groups < 1:
        raise node.invalid(f"num_groups is {groups}")
    x = node.input(0)
    channels = emit.one("Shape", [x], {"start": 1, "end": 2})
    per_group = emit.one("Div", [channels, emit.ints([groups], "groups")])
    wide = emit.one("Concat", [emit.ints([groups], "groups"), per_group], {"axis": 0})
    column = emit.ints([groups, 1], "column")
    flat = emit.ints([-1], "flat")
    for index in (1, 2):
        expanded = emit.one("Expand", [emit.one("Reshape", [node.inputs[index], column]), wide])
        node.inputs[index] = emit.one("Reshape", [expanded, flat])


ADAPTERS: dict[str, tuple[tuple[int, Adapter], ...]] = {
    "Softmax": ((13, softmax),),
    "LogSoftmax": ((13, softmax),),
    "Hardmax": ((13, softmax),),
    "BatchNormalization": ((9, batch_normalization_per_element), (14, batch_normalization_outputs)),
    "GroupNormalization": ((21, group_normalization),),
}
