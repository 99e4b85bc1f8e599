"""One node of a file at a time: attributes, schema, opset adapters, functions, and then the builder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from ziggurat.errors import InvalidModel, Unsupported
from ziggurat.formats.onnx.adapters import adapt
from ziggurat.formats.onnx.attributes import AttributeReader, check_attributes
from ziggurat.formats.onnx.builder import ABSENT, Attribute
from ziggurat.formats.onnx.constants import import_constant
from ziggurat.formats.onnx.emit import Emit
from ziggurat.formats.onnx.functions import inline_local, inline_standard
from ziggurat.formats.onnx.graph import body_hints, import_body
from ziggurat.formats.onnx.order import in_order, label
from ziggurat.formats.onnx.schemas import Catalog
from ziggurat.formats.onnx.scope import Scope
from ziggurat.formats.onnx.tensors import Tensors, TensorValue
from ziggurat.formats.onnx.values import GraphRef, Node, SparseRef, Value

# Functions may call functions, so a small file can describe any number of nodes.
MAX_NODES = 1_000_000
# Graphs in graphs and functions in functions, together; each level takes about ten Python frames.
MAX_NESTING = 40

FunctionKey: TypeAlias = tuple[str, str, str]  # domain, name, overload


class Importer:
    """Feeds the nodes of one model to graph builders."""

    def __init__(self, tensors: Tensors, functions: Mapping[FunctionKey, Any]) -> None:
        self.tensors = tensors
        self.functions = functions
        self.catalog = Catalog()
        self.attributes = AttributeReader(tensors)
        self.warnings: list[str] = []
        self._nodes_left = MAX_NODES
        self._nesting: list[str] = []

    def nodes(self, protos: Sequence[Any], scope: Scope) -> None:
        """Adds all nodes of a graph or function body, in an order in which they can run."""
        self._nodes_left -= len(protos)
        if self._nodes_left < 0:
            raise Unsupported(f"the model has more than {MAX_NODES} nodes once its functions are inlined")
        for proto in protos:
            for name in proto.output:
                if name in scope.names:
                    problem = "a node produces what is also an input or initializer"
                    raise InvalidModel(problem, node=scope.prefix + label(proto), op=proto.op_type, tensor=name)
        for proto in in_order(protos, scope.knows):
            self._node(proto, scope)

    def emit(self, node: Node, scope: Scope) -> list[int]:
        """Brings a node of ai.onnx to the newest form, adds it, and gives the ids of its outputs."""
        if node.domain == "":
            done = adapt(node, Emit(self, scope, node.name))
            if done is not None:
                return done
        builder = scope.builder
        if builder.knows(node.domain, node.op):
            attributes = {name: self._lower(value, node, scope) for name, value in node.attributes.items()}
            return builder.node(node.domain, node.op, node.name, node.inputs, node.outputs, attributes)
        schema = self.catalog.newest(node.domain, node.op)
        if schema is None or not schema.has_function:
            within = f" (in the {self._nesting[-1]})" if self._nesting else ""
            raise node.unsupported(f"this operator is not supported{within}")
        return inline_standard(self, node, schema, scope)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    @contextmanager
    def nested(self, what: str) -> Iterator[None]:
        """Around the import of a subgraph or function body; refuses recursion and excessive depth."""
        if len(self._nesting) >= MAX_NESTING:
            raise InvalidModel(f"subgraphs and functions are nested deeper than {MAX_NESTING}")
        if what.startswith("function ") and what in self._nesting:
            chain = " -> ".join([*self._nesting[self._nesting.index(what) :], what])
            raise InvalidModel(f"functions call themselves: {chain}")
        self._nesting.append(what)
        try:
            yield
        finally:
            self._nesting.pop()

    def _node(self, proto: Any, scope: Scope) -> None:
        domain = plain_domain(proto.domain)
        name, op = scope.prefix + label(proto), proto.op_type
        inputs = [scope.lookup(given, name, op) for given in proto.input]
        while inputs and inputs[-1] == ABSENT:
            inputs.pop()
        outputs = [scope.prefix + given if given else "" for given in proto.output]
        attributes = self.attributes.read_all(proto.attribute, scope, name, op)
        node = Node(domain, op, name, scope.opsets.get(domain, 0), inputs, outputs, attributes)
        key = (domain, op, proto.overload)
        if key in self.functions:
            ids = inline_local(self, self.functions[key], node, scope)
        elif domain == "" and op == "Constant":
            self._check(node)
            ids = [import_constant(self.tensors, scope.builder, node)]
        else:
            self._check(node)
            ids = self.emit(node, scope)
        for given, value in zip(proto.output, ids, strict=False):
            if given:
                scope.define(given, value, name, op)

    def _check(self, node: Node) -> None:
        """What the schema of the imported opset says about inputs, outputs and attributes."""
        schema = self.catalog.find(node.domain, node.op, node.version)
        if schema is None:
            return  # not an op of the standard: the builder's descriptor decides
        for what, count, (least, most) in (
            ("inputs", len(node.inputs), schema.inputs),
            ("outputs", len(node.outputs), schema.outputs),
        ):
            if not least <= count <= most:
                upper = f" to {most}" if most < 2**31 - 1 else " or more"
                expected = f"{least}{upper if least != most else ''}"
                raise InvalidModel(f"has {count} {what}, expected {expected}", node=node.name, op=node.op)
        if schema.variadic_from is not None and ABSENT in node.inputs[schema.variadic_from :]:
            raise InvalidModel("leaves out one of a list of inputs", node=node.name, op=node.op)
        if node.domain == "" and schema.deprecated and node.op == "Upsample":
            raise InvalidModel("was removed in opset 10, use Resize", node=node.name, op=node.op)
        check_attributes(node.attributes, schema, node.name, node.op)

    def _lower(self, value: Value, node: Node, scope: Scope) -> Attribute:
        if isinstance(value, GraphRef):
            with self.nested(f"subgraph of '{node.name}'"):
                return import_body(self, value, scope.builder, body_hints(node, scope.builder))
        if isinstance(value, SparseRef):
            raise node.unsupported("a sparse tensor attribute")
        if isinstance(value, TensorValue):
            data = self.tensors.in_memory(value)
            return ("tensor", value.dtype, value.shape, data)
        return value


def plain_domain(domain: str) -> str:
    """ "ai.onnx" is another way to write the default domain."""
    return "" if domain == "ai.onnx" else domain
