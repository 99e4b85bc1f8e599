"""Forms that ended with opset 6, when broadcasting was asked for by attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ziggurat.formats.onnx.emit import Emit
from ziggurat.formats.onnx.values import Node

if TYPE_CHECKING:
    from ziggurat.formats.onnx.adapters import Adapter


def broadcast(node: Node, emit: Emit) -> None:
    """The second input's axes lay under those of the first from `axis` on; without it they were its last ones."""
    asked, axis = node.pop_int("broadcast", 0), node.attributes.pop("axis", None)
    if not asked or axis is None:
        return
    ranks = emit.rank(node.input(0)), emit.rank(node.input(1))
    if not isinstance(axis, int) or ranks[0] is None or ranks[1] is None:
        raise node.unsupported("broadcasting along an axis needs inputs of known rank")
    first = axis + ranks[0] if axis < 0 else axis
    behind = ranks[0] - first - ranks[1]
    if first < 0 or behind < 0:
        raise node.invalid(f"cannot lay {ranks[1]} axes under {ranks[0]} from axis {axis} on")
    if behind:
        added = emit.ints(list(range(ranks[1], ranks[1] + behind)), "axes")
        node.inputs[1] = emit.one("Unsqueeze", [node.inputs[1], added])


def prelu(node: Node, emit: Emit) -> None:
    """A slope of rank 1 had one element for each channel, axis 1."""
    rank, slope = emit.rank(node.input(0)), emit.shape(node.input(1))
    if slope is None or rank is None:
        raise node.unsupported("needs inputs of known rank")
    if len(slope) == 1 and slope != [1] and rank > 2:
        added = emit.ints(list(range(1, rank - 1)), "axes")
        node.inputs[1] = emit.one("Unsqueeze", [node.inputs[1], added])


def forget_training(node: Node, emit: Emit) -> None:
    """BatchNormalization, Dropout: whether to train is not the model's to say here."""
    node.attributes.pop("is_test", None)


def gemm(node: Node, emit: Emit) -> None:
    node.attributes.pop("broadcast", None)


def recurrent(node: Node, emit: Emit) -> None:
    """Outputs are computed when they are named."""
    node.attributes.pop("output_sequence", None)


def upsample(node: Node, emit: Emit) -> None:
    height, width = node.pop_float("height_scale"), node.pop_float("width_scale")
    node.attributes["scales"] = ("floats", [1.0, 1.0, height or 1.0, width or 1.0])


_ROW_BROADCAST: tuple[tuple[int, Adapter], ...] = ((7, broadcast),)
_BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less")

ADAPTERS: dict[str, tuple[tuple[int, Adapter], ...]] = {
    **dict.fromkeys(_BINARY, _ROW_BROADCAST),
    "PRelu": ((7, prelu),),
    "BatchNormalization": ((7, forget_training),),
    "Dropout": ((7, forget_training),),
    "Gemm": ((7, gemm),),
    "GRU": ((7, recurrent),),
    "LSTM": ((7, recurrent),),
    "RNN": ((7, recurrent),),
    "Upsample": ((7, upsample),),
}
