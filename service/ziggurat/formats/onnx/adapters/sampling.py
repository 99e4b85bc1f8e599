"""Resize and its ancestors, and the ops that sample images; their coordinate conventions have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ziggurat.formats.onnx.builder import ABSENT
from ziggurat.formats.onnx.emit import Emit
from ziggurat.formats.onnx.schemas import NEWEST
from ziggurat.formats.onnx.values import Node

if TYPE_CHECKING:
    from ziggurat.formats.onnx.adapters import Adapter

# Rows for every version: files of all opsets write the same thing in several ways.
_ALWAYS = NEWEST + 1


def upsample_scales(node: Node, emit: Emit) -> None:
    node.inputs = [node.input(0), emit.floats(node.pop_floats("scales") or [], "scales")]


def upsample(node: Node, emit: Emit) -> None:
    """Scales are 1 or more, so that nearest is always the pixel below."""
    node.op, node.version = "Resize", 11
    node.inputs = [node.input(0), ABSENT, node.input(1)]
    node.attributes["coordinate_transformation_mode"] = b"asymmetric"
    if node.string("mode", "nearest") == "nearest":
        node.attributes["nearest_mode"] = b"floor"


def resize_10(node: Node, emit: Emit) -> list[int] | None:
    """Coordinates were x_resized / scale. Nearest took the pixel below when enlarging, above when shrinking."""
    x, scales = node.input(0), node.input(1)
    mode = node.string("mode", "nearest")
    base: dict[str, bytes] = {"mode": mode.encode(), "coordinate_transformation_mode": b"asymmetric"}
    if mode != "nearest":
        return emit.node("Resize", [x, ABSENT, scales], dict(base), node.outputs)
    known = emit.known(scales)
    if known is None:
        emit.warn("scales are not constant; nearest rounding is that of enlarging")
    factors = [] if known is None else [float(factor) for factor in known.reshape(-1)]
    steps: list[tuple[int, bytes]] = [(scales, b"floor")]
    if any(factor < 1 for factor in factors):
        steps = [(scales, b"ceil")]
        if any(factor > 1 for factor in factors):
            # Nearest works on each axis alone, so that enlarging and shrinking may be two nodes.
            larger = emit.floats([max(factor, 1.0) for factor in factors], "enlarge")
            smaller = emit.floats([min(factor, 1.0) for factor in factors], "shrink")
            steps = [(larger, b"floor"), (smaller, b"ceil")]
    for factor_ids, rounding in steps[:-1]:
        x = emit.one("Resize", [x, ABSENT, factor_ids], {**base, "nearest_mode": rounding})
    last, rounding = steps[-1]
    return emit.node("Resize", [x, ABSENT, last], {**base, "nearest_mode": rounding}, node.outputs)


def resize_empty_inputs(node: Node, emit: Emit) -> None:
    """An empty tensor for roi, scales or sizes says the same as leaving it out."""
    for index in range(1, len(node.inputs)):
        shape = emit.shape(node.inputs[index]) if node.inputs[index] != ABSENT else None
        if shape == [0]:
            node.inputs[index] = ABSENT
    while node.inputs and node.inputs[-1] == ABSENT:
        node.inputs.pop()


def roi_align(node: Node, emit: Emit) -> None:
    """Before opset 16 there was no shift by half a pixel; the default since then has one."""
    node.attributes.setdefault("coordinate_transformation_mode", b"output_half_pixel")


def grid_sample(node: Node, emit: Emit) -> None:
    """The modes were named for two dimensions."""
    mode = node.string("mode", "bilinear")
    node.attributes["mode"] = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode).encode()


ADAPTERS: dict[str, tuple[tuple[int, Adapter], ...]] = {
    "Upsample": ((9, upsample_scales), (10, upsample)),
    "Resize": ((11, resize_10), (_ALWAYS, resize_empty_inputs)),
    "RoiAlign": ((16, roi_align),),
    "GridSample": ((20, grid_sample),),
}
