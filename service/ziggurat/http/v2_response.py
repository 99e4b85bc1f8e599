"""A V2 inference answer: from arrays to the parts of a body, binary tensors without a copy where that is possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from ziggurat.engine.json_numbers import NumberWriter
from ziggurat.errors import InvalidArgument, Unsupported
from ziggurat.http import tensors
from ziggurat.http.datatypes import ALL, BY_ENGINE, BY_NAME, Datatype
from ziggurat.http.v2_request import Output, Request

Part = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Body:
    """`header_length` is the length of the JSON where binary tensors follow it."""

    parts: list[Part]
    header_length: int | None

    @property
    def size(self) -> int:
        return sum(len(part) for part in self.parts)


def encode(
    request: Request, name: str, version: str, arrays: dict[str, tensors.Array], labels: Mapping[str, Sequence[str]]
) -> Body:
    """`labels` names the classes of an output for the classification extension."""
    described: list[dict[str, Any]] = []
    binary: list[Part] = []
    writer = NumberWriter()
    for output in request.outputs or [Output(key) for key in arrays]:
        array = arrays[output.name]
        datatype = _datatype(array, output.name)
        if output.classes:
            array, datatype = _classify(array, output, labels.get(output.name, ())), BY_NAME["BYTES"]
        item: dict[str, Any] = {"name": output.name, "datatype": datatype.name, "shape": array.shape}
        if request.binary if output.binary is None else output.binary:
            raw = tensors.to_bytes(array, datatype)
            item["parameters"] = {"binary_data_size": len(raw)}
            binary.append(raw)
        else:
            item["data"] = tensors.to_json(array, datatype, output.name, writer)
        described.append(item)
    answer: dict[str, Any] = {"model_name": name, "model_version": version, "outputs": described}
    if request.id is not None:
        answer["id"] = request.id
    if request.parameters:
        answer["parameters"] = request.parameters
    head = writer.join(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY))
    framed = any("parameters" in item for item in described)
    return Body([*head, *binary], sum(map(len, head)) if framed else None)


def _datatype(value: object, name: str) -> Datatype:
    if not isinstance(value, np.ndarray):
        raise Unsupported("is no tensor, which V2 cannot carry", tensor=name)
    dtype: np.dtype[Any] = value.dtype
    return _OF_DTYPE.get(dtype) or BY_ENGINE["string" if dtype.hasobject else dtype.name]


# A dtype's name is put together anew each time that it is asked for, which takes as long as a small model.
_OF_DTYPE: dict[np.dtype[Any], Datatype] = {one.dtype: one for one in ALL if one.dtype is not None}


def _classify(array: tensors.Array, output: Output, names: Sequence[str]) -> tensors.Array:
    """The classification extension: the largest values along the last axis, each as "value:index[:label]"."""
    if array.ndim == 0 or array.dtype.kind not in "fiu":
        raise InvalidArgument("classification needs numbers along an axis", tensor=output.name)
    count = min(output.classes, array.shape[-1])
    best = np.argsort(-array.astype(np.float64), axis=-1, kind="stable")[..., :count]
    values = np.take_along_axis(array, best, axis=-1)
    result = np.empty(best.size, object)
    # str() of a NumPy number is the shortest text of its own type: 0.9 for what a format writes 0.8999999761581421.
    result[:] = [
        f"{value!s}:{index}:{names[index]}".encode() if index < len(names) else f"{value!s}:{index}".encode()
        for value, index in zip(values.ravel(), best.ravel().tolist(), strict=True)
    ]
    return result.reshape(best.shape)
