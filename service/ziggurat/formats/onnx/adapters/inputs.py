"""Ops whose attributes became inputs, so that they may be computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ziggurat.formats.onnx import dtypes
from ziggurat.formats.onnx.builder import ABSENT
from ziggurat.formats.onnx.emit import Emit
from ziggurat.formats.onnx.values import Node

if TYPE_CHECKING:
    from ziggurat.formats.onnx.adapters import Adapter

_FLOAT32_MAX = 3.4028234663852886e38


def axes(node: Node, emit: Emit) -> None:
    """Squeeze, Unsqueeze, Reduce*: `axes`. An empty list meant all axes, as an absent one does."""
    values = node.pop_ints("axes")
    node.inputs = [node.input(0)]
    if values:
        node.inputs.append(emit.ints(values, "axes"))
    elif node.op == "Unsqueeze":
        node.inputs.append(emit.ints([], "axes"))


def slice_(node: Node, emit: Emit) -> None:
    starts, ends, along = node.pop_ints("starts") or [], node.pop_ints("ends") or [], node.pop_ints("axes")
    if len(starts) != len(ends) or (along is not None and len(along) != len(starts)):
        raise node.invalid(f"has {len(starts)} starts, {len(ends)} ends and {len(along or starts)} axes")
    node.inputs = [node.input(0), emit.ints(starts, "starts"), emit.ints(ends, "ends")]
    if along is not None:
        node.inputs.append(emit.ints(along, "axes"))


def pad(node: Node, emit: Emit) -> None:
    pads, value = node.pop_ints("pads") or [], node.pop_float("value")
    node.inputs = [node.input(0), emit.ints(pads, "pads")]
    if value:
        node.inputs.append(emit.scalar(value, emit.dtype(node.inputs[0]), "value"))


def split(node: Node, emit: Emit) -> None:
    sizes = node.pop_ints("split")
    if sizes:
        node.inputs = [node.input(0), emit.ints(sizes, "split")]


def split_count(node: Node, emit: Emit) -> None:
    """Without sizes the parts were equal, one for each output; since 18 their number has to be said."""
    if node.input(1) == ABSENT:
        node.inputs = [node.input(0)]
        node.attributes["num_outputs"] = len(node.outputs)


def top_k(node: Node, emit: Emit) -> None:
    node.inputs = [node.input(0), emit.ints([node.pop_int("k", 0)], "k")]


def clip(node: Node, emit: Emit) -> None:
    """Limits that were left out were those of float32, whatever the type; only float64 can tell."""
    dtype = emit.dtype(node.input(0))
    low, high = node.pop_float("min"), node.pop_float("max")
    if dtype == dtypes.DOUBLE:
        low, high = -_FLOAT32_MAX if low is None else low, _FLOAT32_MAX if high is None else high
    limits = [
        ABSENT if value is None else emit.scalar(value, dtype, role) for value, role in ((low, "min"), (high, "max"))
    ]
    node.inputs = [node.input(0), *limits]


def dropout_mask(node: Node, emit: Emit) -> list[int] | None:
    """The mask had the type of the data; it is bool since opset 10."""
    if not node.has_output(1):
        return None
    data = node.input(0)
    kept, mask = emit.node("Dropout", [data], outputs=[node.outputs[0] or f"{node.name}/kept", f"{node.name}/mask"])
    return [kept, *emit.node("Cast", [mask], {"to": emit.dtype(data)}, [node.outputs[1]])]


def dropout(node: Node, emit: Emit) -> None:
    """`ratio` matters in training only, which a model could not ask for before opset 12."""
    node.attributes.pop("ratio", None)


def dft(node: Node, emit: Emit) -> None:
    axis = emit.scalar(node.pop_int("axis", 1), dtypes.INT64, "axis")
    node.inputs = [node.input(0), node.input(1), axis]


_REDUCTIONS = (
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSumSquare",
)

ADAPTERS: dict[str, tuple[tuple[int, Adapter], ...]] = {
    **dict.fromkeys(_REDUCTIONS, ((18, axes),)),
    "ReduceSum": ((13, axes),),
    "Squeeze": ((13, axes),),
    "Unsqueeze": ((13, axes),),
    "Slice": ((10, slice_),),
    "Pad": ((11, pad),),
    "Split": ((13, split), (18, split_count)),
    "TopK": ((10, top_k),),
    "Clip": ((11, clip),),
    "Dropout": ((10, dropout_mask), (12, dropout)),
    "DFT": ((20, dft),),
}
