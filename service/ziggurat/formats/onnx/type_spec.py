"""TypeProto to what a graph builder takes."""

from __future__ import annotations

from typing import Any

from ziggurat.errors import InvalidModel, Unsupported
from ziggurat.formats.onnx import dtypes
from ziggurat.formats.onnx.builder import Shape, TypeSpec


def type_spec(proto: Any, name: str) -> TypeSpec:
    """The type, nested. dtype 0 where the file does not say.

    Raises:
        Unsupported: maps, sparse tensors and opaque types.
        InvalidModel: an element type that does not exist, a sequence of nothing.
    """
    kind = proto.WhichOneof("value")
    if kind is None:
        return ("tensor", 0, None)
    if kind == "tensor_type":
        dtype = proto.tensor_type.elem_type
        if dtype != 0 and not dtypes.is_element_type(dtype):
            raise InvalidModel(f"element type {dtype} does not exist", tensor=name)
        return ("tensor", dtype, shape_of(proto.tensor_type))
    if kind == "sequence_type":
        return ("sequence", type_spec(proto.sequence_type.elem_type, name))
    if kind == "optional_type":
        return ("optional", type_spec(proto.optional_type.elem_type, name))
    raise Unsupported(f"values of {kind.replace('_', ' ')} are not supported", tensor=name)


def shape_of(proto: Any) -> Shape | None:
    """Of a TypeProto.Tensor. A negative size means unknown, as some exporters write it."""
    if not proto.HasField("shape"):
        return None
    shape: Shape = []
    for dim in proto.shape.dim:
        if dim.HasField("dim_value"):
            shape.append(dim.dim_value if dim.dim_value >= 0 else None)
        else:
            shape.append(dim.dim_param or None)
    return shape
