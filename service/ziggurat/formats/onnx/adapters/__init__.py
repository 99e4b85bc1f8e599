"""Opset adapters: one table that brings every older form of an ai.onnx node to the newest one.

A row (until, function) holds for nodes of opset versions below `until`; rows are applied in ascending order until the
node has the newest form. What needs no row is listed in compatible.py, with every version of every op.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from ziggurat.formats.onnx.adapters import control, inputs, normalization, opset_6, sampling
from ziggurat.formats.onnx.emit import Emit
from ziggurat.formats.onnx.values import Node

# Changes the node in place, or adds nodes itself and gives the ids of the node's outputs.
Adapter: TypeAlias = Callable[[Node, Emit], list[int] | None]


def _gathered() -> dict[str, tuple[tuple[int, Adapter], ...]]:
    rows: dict[str, tuple[tuple[int, Adapter], ...]] = {}
    for module in (opset_6, inputs, normalization, sampling, control):
        for op, own in module.ADAPTERS.items():
            rows[op] = tuple(sorted((*rows.get(op, ()), *own), key=lambda row: row[0]))
    return rows


ADAPTERS: Mapping[str, tuple[tuple[int, Adapter], ...]] = _gathered()


def adapt(node: Node, emit: Emit) -> list[int] | None:
    """Brings the node to the newest form. Not None: it has been added already, in other nodes."""
    while True:
        row = next((row for row in ADAPTERS.get(node.op, ()) if node.version < row[0]), None)
        if row is None:
            return None
        node.version, function = row
        done = function(node, emit)
        if done is not None:
            return done
