"""How an adapter adds nodes in the newest form to the graph under construction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ziggurat.formats.onnx import dtypes
from ziggurat.formats.onnx.builder import Attribute, Builder, Shape
from ziggurat.formats.onnx.graph import inline_body
from ziggurat.formats.onnx.schemas import NEWEST
from ziggurat.formats.onnx.scope import Scope
from ziggurat.formats.onnx.values import GraphRef, Node, Value

if TYPE_CHECKING:
    from ziggurat.formats.onnx.importer import Importer

_NUMPY = {
    dtypes.FLOAT: "<f4",
    dtypes.FLOAT16: "<f2",
    dtypes.DOUBLE: "<f8",
    dtypes.INT64: "<i8",
    dtypes.BOOL: "?",
    2: "u1",
    3: "i1",
    4: "<u2",
    5: "<i2",
    6: "<i4",
    12: "<u4",
    13: "<u8",
}


class Emit:
    """Adds helper nodes on behalf of one node of the file, whose name they carry."""

    def __init__(self, importer: Importer, scope: Scope, name: str) -> None:
        self._importer = importer
        self._scope = scope
        self._name = name
        self.builder: Builder = scope.builder

    def node(
        self,
        op: str,
        inputs: Sequence[int],
        attributes: Mapping[str, Value] | None = None,
        outputs: Sequence[str] | None = None,
    ) -> list[int]:
        """A node of ai.onnx in its newest form; one output unless named otherwise."""
        names = list(outputs) if outputs is not None else [f"{self._name}/{op}"]
        node = Node("", op, self._name, NEWEST, list(inputs), names, dict(attributes or {}))
        return self._importer.emit(node, self._scope)

    def one(self, op: str, inputs: Sequence[int], attributes: Mapping[str, Value] | None = None) -> int:
        return self.node(op, inputs, attributes)[0]

    def node_with_graph(
        self,
        op: str,
        inputs: Sequence[int],
        attributes: dict[str, Attribute],
        body_name: str,
        body: Builder,
        outputs: Sequence[str],
    ) -> list[int]:
        """A node with a subgraph that the adapter has built."""
        return self.builder.node("", op, self._name, inputs, outputs, {**attributes, body_name: body})

    def inline(self, body: GraphRef, arguments: Sequence[int]) -> list[int]:
        """The nodes of a subgraph, added to this graph."""
        with self._importer.nested(f"subgraph of '{self._name}'"):
            return inline_body(self._importer, body, self.builder, arguments)

    def ints(self, values: Sequence[int], role: str) -> int:
        """A constant of int64 and rank 1."""
        data = np.array(values, "<i8").tobytes()
        return self.builder.constant(f"{self._name}/{role}", dtypes.INT64, [len(values)], data)

    def floats(self, values: Sequence[float], role: str) -> int:
        """A constant of float32 and rank 1."""
        data = np.array(values, "<f4").tobytes()
        return self.builder.constant(f"{self._name}/{role}", dtypes.FLOAT, [len(values)], data)

    def scalar(self, value: float, dtype: int, role: str) -> int:
        """A constant of rank 0 and any numeric type; float32's extremes saturate in narrower types."""
        name = f"{self._name}/{role}"
        if dtype in _NUMPY:
            with np.errstate(over="ignore"):
                data = np.array(value).astype(_NUMPY[dtype]).tobytes()
            return self.builder.constant(name, dtype, [], data)
        wide = self.builder.constant(name, dtypes.FLOAT, [], np.array(value, "<f4").tobytes())
        return self.one("Cast", [wide], {"to": dtype})

    def dtype(self, value: int) -> int:
        return self.builder.dtype_of(value)

    def shape(self, value: int) -> Shape | None:
        return self.builder.shape_of(value)

    def rank(self, value: int) -> int | None:
        shape = self.builder.shape_of(value)
        return None if shape is None else len(shape)

    def known(self, value: int) -> np.ndarray[Any, Any] | None:
        """The elements of a small constant."""
        return self.builder.constant_value(value)

    def warn(self, message: str) -> None:
        self._importer.warn(f"node '{self._name}': {message}")

    def inside(self, builder: Builder) -> Emit:
        """The same for a graph nested in this one."""
        return Emit(self._importer, self._scope.child(builder), self._name)
