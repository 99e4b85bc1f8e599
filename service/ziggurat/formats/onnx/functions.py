"""Inlines functions: those in the model's file, and the standard's own bodies of ops that have no native descriptor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import onnx
import onnx.helper

from ziggurat.errors import InvalidModel
from ziggurat.formats.onnx.builder import ABSENT, Builder
from ziggurat.formats.onnx.schemas import NEWEST, Schema
from ziggurat.formats.onnx.scope import Scope
from ziggurat.formats.onnx.values import GraphRef, Node, Value, kind_of

if TYPE_CHECKING:
    from ziggurat.formats.onnx.importer import Importer


def inline_local(importer: Importer, function: Any, node: Node, scope: Scope) -> list[int]:
    """The body of a FunctionProto of the model in place of a node that calls it."""
    defaults = importer.attributes.read_all(function.attribute_proto, _empty(scope), node.name, node.op)
    for name in node.attributes:
        if name not in defaults and name not in function.attribute:
            raise InvalidModel(f"the function has no attribute '{name}'", node=node.name, op=node.op)
    opsets = opset_versions(function.opset_import)
    inner = Scope(scope.builder, opsets, None, {**defaults, **node.attributes}, f"{node.name}/")
    with importer.nested(f"function {node.domain}.{node.op}"):
        return _inline(importer, function, node, inner)


def inline_standard(importer: Importer, node: Node, schema: Schema, scope: Scope) -> list[int]:
    """The standard's body of an op, the node being in the op's newest form."""
    body = _standard_body(node, schema, scope.builder)
    attributes = {
        name: value
        for name, info in schema.attributes.items()
        if info.default.name
        for value in importer.attributes.read_all([info.default], _empty(scope), node.name, node.op).values()
    }
    attributes.update(node.attributes)
    # Bodies of other domains' ops may leave out that they speak ai.onnx.
    opsets = {"": NEWEST, **opset_versions(body.opset_import)}
    inner = Scope(scope.builder, opsets, None, attributes, f"{node.name}/")
    if any(isinstance(value, GraphRef) for value in node.attributes.values()):
        # The node's own subgraph is now part of the body: it sees the caller's names and speaks the caller's opset.
        inner.parent, inner.opsets = scope, scope.opsets
    with importer.nested(f"standard body of {node.op}"):
        return _inline(importer, body, node, inner)


def opset_versions(imports: Any) -> dict[str, int]:
    """Domain to version of an opset_import, checked."""
    versions: dict[str, int] = {}
    for entry in imports:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        version = min(entry.version, 2**31 - 1)
        if versions.setdefault(domain, version) != version:
            raise InvalidModel(f"opset '{domain or 'ai.onnx'}' is imported as {versions[domain]} and as {version}")
    return versions


def _inline(importer: Importer, function: Any, node: Node, inner: Scope) -> list[int]:
    if len(node.inputs) > len(function.input) or len(node.outputs) > len(function.output):
        raise InvalidModel(
            f"the function takes {len(function.input)} inputs and gives {len(function.output)} outputs, "
            f"the node has {len(node.inputs)} and {len(node.outputs)}",
            node=node.name,
            op=node.op,
        )
    for index, name in enumerate(function.input):
        inner.define(name, node.input(index), node.name, node.op)
    importer.nodes(function.node, inner)
    return [
        inner.lookup(name, node.name, node.op) if wanted else ABSENT
        for name, wanted in zip(function.output, node.outputs, strict=False)
    ]


def _empty(scope: Scope) -> Scope:
    return Scope(scope.builder, {})


def _standard_body(node: Node, schema: Schema, builder: Builder) -> Any:
    """The FunctionProto of the newest opset that has one, made for the node's input types where it depends on them."""
    raw = schema.raw
    data = b""
    if raw.has_context_dependent_function:
        proto = _node_proto(node).SerializeToString()
        types = [_type_proto(builder, value).SerializeToString() for value in node.inputs]
        version = max(raw.context_dependent_function_opset_versions)
        data = raw.get_context_dependent_function_with_opset_version(version, proto, types)
    elif raw.has_function:
        data = raw.get_function_with_opset_version(NEWEST)
    body = onnx.FunctionProto()
    body.ParseFromString(data)
    if not body.node:
        raise node.unsupported("has no kernel, and its standard definition needs input types that are not known")
    return body


def _node_proto(node: Node) -> Any:
    inputs = [f"in{i}" if value != ABSENT else "" for i, value in enumerate(node.inputs)]
    outputs = [f"out{i}" if name else "" for i, name in enumerate(node.outputs)]
    proto = onnx.NodeProto(op_type=node.op, name=node.name, input=inputs, output=outputs)
    proto.attribute.extend(attribute_protos(node.attributes, node))
    return proto


def attribute_protos(attributes: Mapping[str, Value], node: Node) -> list[Any]:
    """Values as AttributeProto again, for the standard's body makers."""
    protos = []
    for name, value in attributes.items():
        kind = onnx.AttributeProto.AttributeType.Value(kind_of(value))
        if isinstance(value, GraphRef):
            content: Any = value.proto
        elif isinstance(value, tuple) and value[0] != "type":
            content = value[1]
        elif isinstance(value, int | float | bytes):
            content = value
        else:
            raise node.unsupported(f"attribute '{name}' in an operator without a kernel")
        protos.append(onnx.helper.make_attribute(name, content, attr_type=kind))
    return protos


def _type_proto(builder: Builder, value: int) -> Any:
    """A TypeProto of what the builder knows; empty for absent inputs and unknown types."""
    dtype = builder.dtype_of(value) if value != ABSENT else 0
    if dtype == 0:
        return onnx.TypeProto()
    return onnx.helper.make_tensor_type_proto(dtype, builder.shape_of(value))
