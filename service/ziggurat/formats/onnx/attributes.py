"""AttributeProto to values: references into a function's attributes resolved, types checked against the schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ziggurat.errors import InvalidModel, Unsupported
from ziggurat.formats.onnx.schemas import Schema
from ziggurat.formats.onnx.scope import Scope
from ziggurat.formats.onnx.tensors import Tensors
from ziggurat.formats.onnx.type_spec import type_spec
from ziggurat.formats.onnx.values import GraphRef, SparseRef, Value, kind_of

# AttributeProto.type -> its name and the field with the value.
_FIELDS: Mapping[int, tuple[str, str]] = {
    1: ("FLOAT", "f"),
    2: ("INT", "i"),
    3: ("STRING", "s"),
    4: ("TENSOR", "t"),
    5: ("GRAPH", "g"),
    6: ("FLOATS", "floats"),
    7: ("INTS", "ints"),
    8: ("STRINGS", "strings"),
    11: ("SPARSE_TENSOR", "sparse_tensor"),
    13: ("TYPE_PROTO", "tp"),
}
_REPEATED = {"FLOATS", "INTS", "STRINGS"}
_MESSAGES = {"TENSOR", "GRAPH", "SPARSE_TENSOR", "TYPE_PROTO"}


class AttributeReader:
    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors

    def read_all(self, protos: Any, scope: Scope, node: str, op: str) -> dict[str, Value]:
        values: dict[str, Value] = {}
        seen: set[str] = set()
        for proto in protos:
            if proto.name in seen:
                raise InvalidModel(f"attribute '{proto.name}' is given twice", node=node, op=op)
            seen.add(proto.name)
            value = self._read(proto, scope, node, op)
            if value is not None:
                values[proto.name] = value
        return values

    def _read(self, proto: Any, scope: Scope, node: str, op: str) -> Value | None:
        """None for a reference to an attribute that the function's caller left out."""
        if proto.ref_attr_name:
            if scope.attributes is None:
                raise InvalidModel(
                    f"attribute '{proto.name}' refers to a function's attribute '{proto.ref_attr_name}', "
                    "but the node is not in a function",
                    node=node,
                    op=op,
                )
            return scope.attributes.get(proto.ref_attr_name)
        kind, field = _FIELDS.get(proto.type) or _guess(proto, node, op)
        # A zero or an empty string may be left out on the wire by some writers; a message may not.
        if kind in _MESSAGES and not proto.HasField(field):
            raise InvalidModel(f"attribute '{proto.name}' of type {kind} has no value", node=node, op=op)
        return self._value(kind, getattr(proto, field), scope, f"{node}.{proto.name}")

    def _value(self, kind: str, content: Any, scope: Scope, name: str) -> Value:
        match kind:
            case "FLOAT":
                return float(content)
            case "INT":
                return int(content)
            case "STRING":
                return bytes(content)
            case "FLOATS":
                return ("floats", [float(item) for item in content])
            case "INTS":
                return ("ints", [int(item) for item in content])
            case "STRINGS":
                return ("strings", [bytes(item) for item in content])
            case "TENSOR":
                return self._tensors.read(content, content.name or name)
            case "SPARSE_TENSOR":
                return SparseRef(self._tensors.read_sparse(content, name))
            case "TYPE_PROTO":
                return ("type", type_spec(content, name))
        return GraphRef(content, scope)


def check_attributes(values: Mapping[str, Value], schema: Schema, node: str, op: str) -> None:
    """Names and types as the schema of the imported opset has them."""
    for name, value in values.items():
        expected = schema.attributes.get(name)
        if expected is None:
            known = ", ".join(sorted(schema.attributes)) or "none"
            raise InvalidModel(
                f"unknown attribute '{name}'; {op} of opset {schema.since_version} has: {known}", node=node, op=op
            )
        if kind_of(value) != expected.kind:
            raise InvalidModel(
                f"attribute '{name}' has type {kind_of(value)}, expected {expected.kind}", node=node, op=op
            )
    for name, expected in schema.attributes.items():
        if expected.required and name not in values:
            raise InvalidModel(f"required attribute '{name}' ({expected.kind}) is missing", node=node, op=op)


def _guess(proto: Any, node: str, op: str) -> tuple[str, str]:
    """The type of an attribute whose writer left it out, as files of IR version 1 may."""
    if proto.type != 0:
        raise Unsupported(f"attribute '{proto.name}' has type {proto.type}, which no operator takes", node=node, op=op)
    present = [
        entry
        for entry in _FIELDS.values()
        if (len(getattr(proto, entry[1])) if entry[0] in _REPEATED else proto.HasField(entry[1]))
    ]
    if len(present) != 1:
        raise InvalidModel(f"attribute '{proto.name}' has no type, and {len(present)} values", node=node, op=op)
    return present[0]
