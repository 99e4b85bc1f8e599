"""Attribute values between the file and the graph builder, and the node form that opset adapters rewrite."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

from ziggurat.errors import InvalidModel, Unsupported
from ziggurat.formats.onnx.builder import TypeSpec
from ziggurat.formats.onnx.tensors import TensorValue

if TYPE_CHECKING:
    from ziggurat.formats.onnx.scope import Scope


@dataclass(frozen=True)
class GraphRef:
    """A subgraph not yet imported, and the scope in which its outer names are looked up."""

    proto: Any
    scope: Scope


@dataclass(frozen=True)
class SparseRef:
    """A sparse tensor, already made dense; only Constant takes one."""

    dense: TensorValue


# As builder.Attribute, except that tensors and subgraphs are still what the file has.
Value: TypeAlias = (
    int
    | float
    | bytes
    | tuple[Literal["ints"], list[int]]
    | tuple[Literal["floats"], list[float]]
    | tuple[Literal["strings"], list[bytes]]
    | tuple[Literal["type"], TypeSpec]
    | TensorValue
    | SparseRef
    | GraphRef
)

_TAGS = {"ints": "INTS", "floats": "FLOATS", "strings": "STRINGS", "type": "TYPE_PROTO"}


def kind_of(value: Value) -> str:
    """The name of onnx.AttributeProto's type for a value."""
    if isinstance(value, tuple):
        return _TAGS[value[0]]
    kinds: tuple[tuple[type, str], ...] = (
        (int, "INT"),
        (float, "FLOAT"),
        (bytes, "STRING"),
        (TensorValue, "TENSOR"),
        (SparseRef, "SPARSE_TENSOR"),
        (GraphRef, "GRAPH"),
    )
    return next(name for kind, name in kinds if isinstance(value, kind))


@dataclass
class Node:
    """One node in the form of some opset version; adapters change it in place until it has the newest form."""

    domain: str
    op: str
    name: str
    version: int
    inputs: list[int]
    outputs: list[str]
    attributes: dict[str, Value] = field(default_factory=dict)

    def input(self, index: int) -> int:
        """The value id of an input, ABSENT (-1) if the node does not have it."""
        return self.inputs[index] if index < len(self.inputs) else -1

    def has_output(self, index: int) -> bool:
        return index < len(self.outputs) and self.outputs[index] != ""

    def pop_int(self, name: str, default: int) -> int:
        value = self.attributes.pop(name, default)
        return value if isinstance(value, int) else self._wrong(name, "INT")

    def pop_float(self, name: str) -> float | None:
        value = self.attributes.pop(name, None)
        return value if value is None or isinstance(value, float) else self._wrong(name, "FLOAT")

    def pop_ints(self, name: str) -> list[int] | None:
        value = self.attributes.pop(name, None)
        if value is None:
            return None
        return value[1] if isinstance(value, tuple) and value[0] == "ints" else self._wrong(name, "INTS")

    def pop_floats(self, name: str) -> list[float] | None:
        value = self.attributes.pop(name, None)
        if value is None:
            return None
        return value[1] if isinstance(value, tuple) and value[0] == "floats" else self._wrong(name, "FLOATS")

    def string(self, name: str, default: str) -> str:
        value = self.attributes.get(name, default.encode())
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else self._wrong(name, "STRING")

    def graph(self, name: str) -> GraphRef:
        value = self.attributes.get(name)
        return value if isinstance(value, GraphRef) else self._wrong(name, "GRAPH")

    def _wrong(self, name: str, kind: str) -> NoReturn:
        raise self.invalid(f"attribute '{name}' is not of type {kind}")

    def invalid(self, message: str) -> InvalidModel:
        return InvalidModel(message, node=self.name, op=self.op)

    def unsupported(self, message: str) -> Unsupported:
        return Unsupported(message, node=self.name, op=self.op)
