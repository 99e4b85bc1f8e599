"""A graph builder that writes down an ONNX model of the newest opset, with types by `onnx.shape_inference`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
from onnx import shape_inference

from ziggurat.errors import InvalidModel

NEWEST = 28
# Range is left out: its body is a Loop whose scalar scan outputs onnx.reference stacks into the wrong shape.
WITH_FUNCTION = frozenset(
    schema.name
    for schema in onnx.defs.get_all_schemas()
    if schema.domain == "" and (schema.has_function or schema.has_context_dependent_function) and schema.name != "Range"
)


@dataclass
class Value:
    name: str
    type: Any = None  # TypeProto
    array: np.ndarray[Any, Any] | None = None


@dataclass
class Recorder:
    """Keeps values by number; numbers are shared with subgraphs."""

    name: str = "g"
    unknown: frozenset[str] = frozenset()  # ops that knows() denies
    parent: Recorder | None = None
    values: list[Value] = field(default_factory=list)
    nodes: list[Any] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    files: list[tuple[str, str, int, int]] = field(default_factory=list)
    counter: Any = field(default_factory=itertools.count)

    def _add(self, wanted: str, type_proto: Any = None, array: np.ndarray[Any, Any] | None = None) -> int:
        self.values.append(Value(f"{wanted}#{next(self.counter)}", type_proto, array))
        return len(self.values) - 1

    def input(self, name: str, dtype: int, shape: list[Any] | None) -> int:
        value = self._add(name, onnx.helper.make_tensor_type_proto(dtype, shape))
        if self.parent is None:
            self.values[value].name = name
        self.inputs.append(onnx.ValueInfoProto(name=self.values[value].name, type=self.values[value].type))
        return value

    def input_of_type(self, name: str, spec: Any) -> int:
        value = self._add(name, type_proto(spec))
        if self.parent is None:
            self.values[value].name = name
        self.inputs.append(onnx.ValueInfoProto(name=self.values[value].name, type=self.values[value].type))
        return value

    def constant(self, name: str, dtype: int, shape: list[int], data: bytes | memoryview) -> int:
        storage = onnx.helper.tensor_dtype_to_np_dtype(dtype)
        array = np.frombuffer(bytes(data), np.uint8).view(storage).reshape(shape)
        return self._constant(name, onnx.numpy_helper.from_array(array), array)

    def string_constant(self, name: str, shape: list[int], values: list[bytes]) -> int:
        tensor = onnx.TensorProto(data_type=onnx.TensorProto.STRING, dims=shape, string_data=values)
        return self._constant(name, tensor, onnx.numpy_helper.to_array(tensor))

    def constant_file(self, name: str, dtype: int, shape: list[int], path: str, offset: int, length: int) -> int:
        self.root.files.append((name, path, offset, length))
        with Path(path).open("rb") as file:
            file.seek(offset)
            data = file.read(length)
        assert len(data) == length
        return self.constant(name, dtype, shape, data)

    def _constant(self, name: str, tensor: Any, array: np.ndarray[Any, Any]) -> int:
        proto = onnx.helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
        value = self._add(name, proto, array)
        tensor.name = self.values[value].name
        self.initializers.append(tensor)
        return value

    def node(
        self,
        domain: str,
        op: str,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[str],
        attributes: dict[str, Any],
    ) -> list[int]:
        schema = onnx.defs.get_schema(op, NEWEST, domain)
        names = [self.values[i].name if i >= 0 else "" for i in inputs]
        ids = [self._add(name) if name else -1 for name in outputs]
        results = [self.values[i].name if i >= 0 else "" for i in ids]
        node = onnx.helper.make_node(op, names, results, name=name, domain=domain)
        node.attribute.extend(attribute_proto(key, value) for key, value in attributes.items())
        self.nodes.append(node)
        self._infer(schema, node, [i for i in inputs if i >= 0], [i for i in ids if i >= 0])
        return ids

    def _infer(self, schema: Any, node: Any, inputs: list[int], outputs: list[int]) -> None:
        types = {self.values[i].name: self.values[i].type for i in inputs if self.values[i].type is not None}
        data = {
            self.values[i].name: onnx.numpy_helper.from_array(array)
            for i in inputs
            if (array := self.values[i].array) is not None
        }
        if len(types) < len(set(inputs)):
            return
        try:
            found = shape_inference.infer_node_outputs(
                schema, node, types, data, opset_imports=[onnx.helper.make_opsetid("", NEWEST)], ir_version=14
            )
        except Exception as error:  # a subgraph's captures are unknown to this function
            if any(attribute.HasField("g") for attribute in node.attribute):
                return
            raise InvalidModel(str(error), node=node.name, op=node.op_type) from error
        for i in outputs:
            self.values[i].type = found.get(self.values[i].name)

    def subgraph(self, name: str) -> Recorder:
        return Recorder(name, self.unknown, self, self.values, counter=self.counter)

    def output(self, value: int, name: str) -> None:
        if self.parent is None:
            node = onnx.helper.make_node("Identity", [self.values[value].name], [name])
            self.nodes.append(node)
            self.outputs.append(onnx.ValueInfoProto(name=name, type=self.values[value].type))
        else:
            self.outputs.append(onnx.ValueInfoProto(name=self.values[value].name, type=self.values[value].type))

    def dtype_of(self, value: int) -> int:
        proto = self.values[value].type
        return int(proto.tensor_type.elem_type) if proto is not None and proto.HasField("tensor_type") else 0

    def shape_of(self, value: int) -> list[Any] | None:
        proto = self.values[value].type
        if proto is None or not proto.HasField("tensor_type") or not proto.tensor_type.HasField("shape"):
            return None
        return [
            dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None)
            for dim in proto.tensor_type.shape.dim
        ]

    def constant_value(self, value: int) -> np.ndarray[Any, Any] | None:
        return self.values[value].array

    @property
    def root(self) -> Recorder:
        return self if self.parent is None else self.parent.root

    def graph(self) -> Any:
        return onnx.helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.initializers)

    def finish(self) -> Any:
        return onnx.helper.make_model(self.graph(), opset_imports=[onnx.helper.make_opsetid("", NEWEST)], ir_version=13)

    def knows(self, domain: str, op: str) -> bool:
        try:
            onnx.defs.get_schema(op, NEWEST, domain)
        except onnx.defs.SchemaError:
            return False
        return domain == "" and op not in self.unknown


def type_proto(spec: Any) -> Any:
    if spec[0] == "tensor":
        return onnx.helper.make_tensor_type_proto(spec[1], spec[2])
    make = onnx.helper.make_sequence_type_proto if spec[0] == "sequence" else onnx.helper.make_optional_type_proto
    return make(type_proto(spec[1]))


def attribute_proto(name: str, value: Any) -> Any:
    if isinstance(value, Recorder):
        return onnx.helper.make_attribute(name, value.graph())
    if not isinstance(value, tuple):
        return onnx.helper.make_attribute(name, value)
    if value[0] == "tensor":
        tensor = onnx.TensorProto(data_type=value[1], dims=value[2])
        if value[1] == onnx.TensorProto.STRING:
            tensor.string_data.extend(value[3])
        else:
            tensor.raw_data = bytes(value[3])
        return onnx.helper.make_attribute(name, tensor)
    if value[0] == "type":
        return onnx.helper.make_attribute(name, type_proto(value[1]))
    return onnx.helper.make_attribute(
        name, value[1], attr_type=onnx.AttributeProto.AttributeType.Value(value[0].upper())
    )
