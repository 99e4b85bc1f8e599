"""Scan of opset 8, which ran over a batch; SequenceMap as a Loop; and ops that only changed their name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ziggurat.formats.onnx import dtypes
from ziggurat.formats.onnx.builder import ABSENT
from ziggurat.formats.onnx.emit import Emit
from ziggurat.formats.onnx.schemas import NEWEST
from ziggurat.formats.onnx.values import Node, Value

if TYPE_CHECKING:
    from ziggurat.formats.onnx.adapters import Adapter


def scan_8(node: Node, emit: Emit) -> list[int]:
    """Axis 0 was the batch and axis 1 the sequence: a Scan over the batch whose body is the Scan of one item."""
    if node.input(0) != ABSENT:
        raise node.unsupported("sequence_lens of Scan in opset 8; all sequences must have the same length")
    given = node.inputs[1:]
    body, scanned = node.graph("body"), node.pop_int("num_scan_inputs", 0)
    directions = node.pop_ints("directions")
    outer = emit.builder.subgraph(f"{node.name}/batch")
    inside = emit.inside(outer)
    items = []
    for index, value in enumerate(given):
        shape = emit.shape(value)
        items.append(outer.input(f"{node.name}/item{index}", emit.dtype(value), None if shape is None else shape[1:]))
    attributes: dict[str, Value] = {"body": body, "num_scan_inputs": scanned}
    if directions is not None:
        attributes["scan_input_directions"] = ("ints", directions)
    names = [f"{node.name}/result{index}" for index in range(len(body.proto.output))]
    for name, value in zip(names, inside.node("Scan", items, attributes, names), strict=True):
        outer.output(value, name)
    outputs = [name or f"{node.name}/unused{index}" for index, name in enumerate(node.outputs)]
    outputs += [f"{node.name}/unused{index}" for index in range(len(outputs), len(names))]
    return emit.node_with_graph("Scan", given, {"num_scan_inputs": len(given)}, "body", outer, outputs)


def sequence_map(node: Node, emit: Emit) -> list[int] | None:
    """A Loop over the first sequence; inputs that are tensors go to every iteration whole.

    The standard's own definition of this op needs the types of its inputs, and crashes where it does not find them.
    """
    if emit.builder.knows("", "SequenceMap"):
        return None
    body = node.graph("body")
    declared = [output.type.tensor_type.elem_type for output in body.proto.output]
    if 0 in declared:
        raise node.unsupported("the subgraph does not declare the element types of its outputs")
    count = emit.one("SequenceLength", [node.input(0)])
    always = emit.scalar(1, dtypes.BOOL, "always")
    empty = [emit.one("SequenceEmpty", [], {"dtype": dtype}) for dtype in declared]
    loop = emit.builder.subgraph(f"{node.name}/loop")
    inside = emit.inside(loop)
    index = loop.input(f"{node.name}/index", dtypes.INT64, [])
    go_on = loop.input(f"{node.name}/go_on", dtypes.BOOL, [])
    grown = [loop.input_of_type(f"{node.name}/grown", ("sequence", ("tensor", dtype, None))) for dtype in declared]
    items = [
        value if i > 0 and emit.dtype(value) else inside.one("SequenceAt", [value, index])
        for i, value in enumerate(node.inputs)
    ]
    results = inside.inline(body, items)
    loop.output(inside.one("Identity", [go_on]), f"{node.name}/go_on_out")
    for sequence, result in zip(grown, results, strict=True):
        loop.output(inside.one("SequenceInsert", [sequence, result]), f"{node.name}/grown_out")
    return emit.node_with_graph("Loop", [count, always, *empty], {}, "body", loop, node.outputs)


def scatter(node: Node, emit: Emit) -> None:
    node.op, node.version = "ScatterElements", 11


ADAPTERS: dict[str, tuple[tuple[int, Adapter], ...]] = {
    "Scan": ((9, scan_8),),
    "SequenceMap": ((NEWEST + 1, sequence_map),),
    "Scatter": ((NEWEST + 1, scatter),),
}
