"""Which value a name means, in nested graphs and in the bodies of functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ziggurat.errors import InvalidModel
from ziggurat.formats.onnx.builder import ABSENT, Builder
from ziggurat.formats.onnx.values import Value


@dataclass
class Scope:
    """The names of one graph or function body.

    `parent` is the enclosing graph's scope; a function body has none, it sees its own names only.
    `attributes` are the values that ref_attr_name means inside a function body, None outside of functions.
    `prefix` goes before the names of values and nodes, so that each inlined copy keeps names of its own.
    """

    builder: Builder
    opsets: Mapping[str, int]
    parent: Scope | None = None
    attributes: Mapping[str, Value] | None = None
    prefix: str = ""
    names: dict[str, int] = field(default_factory=dict)

    def find(self, name: str) -> int | None:
        """The value's id; None if no graph from here outwards has the name."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        return None

    def knows(self, name: str) -> bool:
        return self.find(name) is not None

    def lookup(self, name: str, node: str, op: str) -> int:
        """The id for a node's input; an empty name is an absent input."""
        if name == "":
            return ABSENT
        found = self.find(name)
        if found is None:
            raise InvalidModel("nothing produces this input", node=node, op=op, tensor=name)
        return found

    def define(self, name: str, value: int, node: str | None = None, op: str | None = None) -> None:
        if name in self.names:
            raise InvalidModel("the name is defined twice in one graph", node=node, op=op, tensor=name)
        self.names[name] = value

    def child(self, builder: Builder) -> Scope:
        """The scope of a graph nested in this one."""
        return Scope(builder, self.opsets, self, self.attributes, self.prefix)
