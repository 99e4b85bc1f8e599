"""The feeds of a V2 inference request, checked against what the model takes."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ziggurat.errors import InvalidArgument
from ziggurat.http import tensors
from ziggurat.http.datatypes import BY_NAME, Datatype, datatype_of
from ziggurat.http.v2_request import Output, Request, tensor_parameters
from ziggurat.types import TensorSpec

MAX_RANK = 32  # NumPy has 64; no operator has a meaning for more than a few


def feeds(request: Request, specs: Sequence[TensorSpec]) -> dict[str, tensors.Array]:
    """The arrays of a request, checked against what the model takes."""
    known = {spec.name: spec for spec in specs}
    if request.alone:
        return _raw_feed(request.raw, specs)
    result: dict[str, tensors.Array] = {}
    offset = 0
    for item in request.inputs:
        spec = _spec(item, known, result)
        datatype = _datatype(item, spec)
        shape = _shape(item, spec)
        size = _binary_size(item, spec.name)
        if size is None:
            result[spec.name] = tensors.from_json(item.get("data"), datatype, shape, spec.name)
            continue
        if size > len(request.raw) - offset:
            text = f"'binary_data_size' is {size}, {len(request.raw) - offset} bytes are left in the body"
            raise InvalidArgument(text, tensor=spec.name)
        result[spec.name] = tensors.from_bytes(request.raw[offset : offset + size], datatype, shape, spec.name)
        offset += size
    if offset != len(request.raw):
        raise InvalidArgument(f"the inputs account for {offset} binary bytes, the body has {len(request.raw)}")
    return result


def check_outputs(outputs: Iterable[Output], specs: Sequence[TensorSpec]) -> None:
    known = [spec.name for spec in specs]
    for output in outputs:
        if output.name not in known:
            raise InvalidArgument(_unknown("output", output.name, known), tensor=output.name)


def _spec(item: dict[str, Any], known: dict[str, TensorSpec], seen: Iterable[str]) -> TensorSpec:
    name = item.get("name")
    if not isinstance(name, str):
        raise InvalidArgument("an input needs a 'name'")
    if name not in known:
        raise InvalidArgument(_unknown("input", name, list(known)), tensor=name)
    if name in seen:
        raise InvalidArgument("is given twice", tensor=name)
    return known[name]


def _unknown(kind: str, name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"{kind}s are {', '.join(known[:20])}"
    return f"the model has no {kind} '{name}': {hint}"


def _datatype(item: dict[str, Any], spec: TensorSpec) -> Datatype:
    name = item.get("datatype")
    expected = datatype_of(spec)
    if name != expected.name:
        known = "" if name in BY_NAME else ", which is no datatype"
        raise InvalidArgument(f"expected datatype {expected.name}, got {name!r}{known}", tensor=spec.name)
    return expected


def _shape(item: dict[str, Any], spec: TensorSpec) -> tuple[int, ...]:
    shape = item.get("shape")
    if not isinstance(shape, list) or not all(type(extent) is int and extent >= 0 for extent in shape):
        raise InvalidArgument(f"'shape' must be an array of sizes, got {shape!r}", tensor=spec.name)
    if len(shape) > MAX_RANK or math.prod(shape) > 2**62:
        raise InvalidArgument(
            f"the shape is too large: {len(shape)} axes, {math.prod(shape)} elements", tensor=spec.name
        )
    if spec.shape is not None:
        fits = len(shape) == len(spec.shape) and all(
            want is None or want == got for want, got in zip(spec.shape, shape, strict=True)
        )
        if not fits:
            expected = [-1 if extent is None else extent for extent in spec.shape]
            raise InvalidArgument(f"expected shape {expected} (-1: any), got {shape}", tensor=spec.name)
    return tuple(shape)


def _binary_size(item: dict[str, Any], name: str) -> int | None:
    size = tensor_parameters(item, f"input '{name}'").get("binary_data_size")
    if size is None:
        if item.get("data") is None:
            raise InvalidArgument("has neither 'data' nor 'binary_data_size'", tensor=name)
        return None
    if type(size) is not int or size < 0:
        raise InvalidArgument(f"'binary_data_size' must be a number of bytes, got {size!r}", tensor=name)
    if "data" in item:
        raise InvalidArgument("has both 'data' and 'binary_data_size'", tensor=name)
    return size


def _raw_feed(raw: memoryview, specs: Sequence[TensorSpec]) -> dict[str, tensors.Array]:
    """A body without JSON: its size gives the one dimension that is not fixed."""
    if len(specs) != 1:
        raise InvalidArgument(f"a raw body is for models with one input, this one has {len(specs)}")
    spec, datatype = specs[0], datatype_of(specs[0])
    extents = list(spec.shape or (None,))
    free = [axis for axis, extent in enumerate(extents) if extent is None]
    if len(free) == 2 and free[0] == 0:
        extents[0] = 1  # the batch: the body is one item
        del free[0]
    if len(free) > 1:
        raise InvalidArgument("more than one dimension is not fixed: a raw body cannot tell them", tensor=spec.name)
    if datatype.dtype is None:
        if any(extent not in (None, 1) for extent in extents):
            raise InvalidArgument("a raw body is one BYTES element, the model takes more", tensor=spec.name)
        array = np.empty((1,) * len(extents), object)
        array.reshape(-1)[0] = bytes(raw)
        return {spec.name: array}
    step = datatype.size * math.prod(extent for extent in extents if extent is not None)
    for axis in free:
        extents[axis] = len(raw) // step if step else 0
    shape = tuple(extent or 0 for extent in extents)
    return {spec.name: tensors.from_bytes(raw, datatype, shape, spec.name)}
