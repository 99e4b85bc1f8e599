"""GraphProto: inputs, initializers, nodes and outputs, of the model and of the subgraphs in its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ziggurat.errors import InvalidModel
from ziggurat.formats.onnx import dtypes
from ziggurat.formats.onnx.builder import Builder, Shape, TypeSpec
from ziggurat.formats.onnx.scope import Scope
from ziggurat.formats.onnx.type_spec import type_spec
from ziggurat.formats.onnx.values import GraphRef, Node

if TYPE_CHECKING:
    from ziggurat.formats.onnx.importer import Importer


def import_graph(importer: Importer, graph: Any, scope: Scope) -> None:
    """Fills the builder of `scope` with the model's outermost graph."""
    constants = _initializer_names(graph)
    for value in graph.input:
        # Files of IR version 3 list every initializer as an input too; it is a constant to us.
        if value.name not in constants:
            _add_input(scope, value, type_spec(value.type, value.name))
    _fill(importer, graph, scope)


def import_body(importer: Importer, ref: GraphRef, outer: Builder, hints: Sequence[TypeSpec]) -> Builder:
    """A subgraph for a node of `outer`. `hints` are the types of its inputs, used where the file leaves them out."""
    graph = ref.proto
    builder = outer.subgraph(graph.name)
    scope = ref.scope.child(builder)
    for index, value in enumerate(graph.input):
        hint = hints[index] if index < len(hints) else ("tensor", 0, None)
        _add_input(scope, value, _merged(type_spec(value.type, value.name), hint))
    _fill(importer, graph, scope)
    return builder


def inline_body(importer: Importer, ref: GraphRef, builder: Builder, arguments: Sequence[int]) -> list[int]:
    """A subgraph's nodes placed in `builder`, its inputs being `arguments`; gives the ids of its outputs."""
    scope = ref.scope.child(builder)
    if len(arguments) != len(ref.proto.input):
        raise InvalidModel(f"the subgraph '{ref.proto.name}' has {len(ref.proto.input)} inputs, not {len(arguments)}")
    for value, argument in zip(ref.proto.input, arguments, strict=True):
        scope.define(value.name, argument)
    _contents(importer, ref.proto, scope)
    return [_output(scope, output.name) for output in ref.proto.output]


def body_hints(node: Node, builder: Builder) -> list[TypeSpec]:
    """What the owner of a subgraph hands to its inputs: Loop's iteration number, condition and carried values."""

    def hint(value: int, shape: Shape | None) -> TypeSpec:
        return ("tensor", builder.dtype_of(value) if value >= 0 else 0, shape)

    if node.op == "Loop":
        # A carried value may change its shape from one iteration to the next, never its element type.
        carried = [hint(value, None) for value in node.inputs[2:]]
        return [("tensor", dtypes.INT64, []), ("tensor", dtypes.BOOL, []), *carried]
    if node.op == "Scan":
        scanned = node.attributes.get("num_scan_inputs", 0)
        states = len(node.inputs) - (scanned if isinstance(scanned, int) else 0)
        return [hint(value, builder.shape_of(value) if i < states else None) for i, value in enumerate(node.inputs)]
    return []


def _add_input(scope: Scope, value: Any, spec: TypeSpec) -> None:
    if not value.name:
        raise InvalidModel("a graph input has no name")
    name = scope.prefix + value.name
    if spec[0] != "tensor":
        scope.define(value.name, scope.builder.input_of_type(name, spec))
        return
    if spec[1] == 0 and scope.parent is None:
        raise InvalidModel("the graph input has no element type", tensor=value.name)
    scope.define(value.name, scope.builder.input(name, spec[1], spec[2]))


def _merged(declared: TypeSpec, hint: TypeSpec) -> TypeSpec:
    """The declared type, completed by the hint."""
    if declared[0] != "tensor" or hint[0] != "tensor" or declared[1] != 0:
        return declared
    return ("tensor", hint[1], declared[2] if declared[2] is not None else hint[2])


def _initializer_names(graph: Any) -> set[str]:
    names = {tensor.name for tensor in graph.initializer}
    return names | {tensor.values.name for tensor in graph.sparse_initializer}


def _contents(importer: Importer, graph: Any, scope: Scope) -> None:
    """Initializers and nodes."""
    for tensor in graph.initializer:
        if not tensor.name:
            raise InvalidModel("an initializer has no name")
        value = importer.tensors.read(tensor)
        scope.define(tensor.name, importer.tensors.add(scope.builder, scope.prefix + tensor.name, value))
    for sparse in graph.sparse_initializer:
        name = sparse.values.name
        value = importer.tensors.read_sparse(sparse, name)
        scope.define(name, importer.tensors.add(scope.builder, scope.prefix + name, value))
    importer.nodes(graph.node, scope)


def _fill(importer: Importer, graph: Any, scope: Scope) -> None:
    """Everything after the inputs."""
    _contents(importer, graph, scope)
    seen: set[str] = set()
    for output in graph.output:
        if output.name in seen:
            raise InvalidModel("the graph has two outputs of this name", tensor=output.name)
        seen.add(output.name)
        scope.builder.output(_output(scope, output.name), output.name)


def _output(scope: Scope, name: str) -> int:
    found = scope.find(name)
    if found is None or found < 0:
        raise InvalidModel("nothing produces this graph output", tensor=name)
    if name in scope.names:
        return found
    # A subgraph's outputs are its own values; one that comes from outside passes through.
    return scope.builder.node("", "Identity", f"{name}/pass", [found], [f"{name}/pass"], {})[0]
