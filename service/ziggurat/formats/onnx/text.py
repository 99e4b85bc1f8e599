"""Names must be UTF-8. Protobuf parses any bytes into them, and Python then sees `bytes` instead of `str`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ziggurat.errors import InvalidModel


def check_names(model: Any) -> None:
    """Refuses a model in which any name that the reader will use is not text."""
    _texts("an opset import", (entry.domain for entry in model.opset_import))
    _graph(model.graph)
    for function in model.functions:
        _texts("a function", (function.name, function.domain, function.overload))
        _texts("a function", (*function.input, *function.output, *function.attribute))
        _texts("an opset import", (entry.domain for entry in function.opset_import))
        _attributes(function.attribute_proto)
        _nodes(function.node)


def _graph(graph: Any) -> None:
    _texts("a graph", (graph.name,))
    for values in (graph.input, graph.output):
        for value in values:
            _texts("a graph input or output", (value.name,))
            _type(value.type)
    for tensor in graph.initializer:
        _tensor(tensor)
    for sparse in graph.sparse_initializer:
        _tensor(sparse.values)
        _tensor(sparse.indices)
    _nodes(graph.node)


def _nodes(nodes: Any) -> None:
    for node in nodes:
        _texts("a node", (node.name, node.op_type, node.domain, node.overload, *node.input, *node.output))
        _attributes(node.attribute)


def _attributes(attributes: Any) -> None:
    for attribute in attributes:
        _texts("an attribute", (attribute.name, attribute.ref_attr_name))
        if attribute.HasField("t"):
            _tensor(attribute.t)
        if attribute.HasField("g"):
            _graph(attribute.g)
        if attribute.HasField("tp"):
            _type(attribute.tp)
        if attribute.HasField("sparse_tensor"):
            _tensor(attribute.sparse_tensor.values)
            _tensor(attribute.sparse_tensor.indices)


def _tensor(tensor: Any) -> None:
    _texts("a tensor", (tensor.name,))
    for entry in tensor.external_data:
        _texts("external data", (entry.key, entry.value))


def _type(proto: Any) -> None:
    kind = proto.WhichOneof("value")
    if kind == "tensor_type":
        _texts("a dimension", (dim.dim_param for dim in proto.tensor_type.shape.dim))
    elif kind in ("sequence_type", "optional_type"):
        _type(getattr(proto, kind).elem_type)


def _texts(what: str, texts: Iterable[Any]) -> None:
    for text in texts:
        if isinstance(text, bytes):
            raise InvalidModel(f"a name is not UTF-8: {text[:40]!r}, in {what}")
