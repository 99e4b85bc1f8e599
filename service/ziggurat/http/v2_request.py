"""The head of a V2 inference request: JSON, JSON followed by raw tensors, or one raw tensor alone."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import orjson

from ziggurat.engine.json_numbers import NumberFinder, NumberText
from ziggurat.errors import InvalidArgument, Unsupported
from ziggurat.serving.admission import DEFAULT_PRIORITY, MAX_PRIORITY


@dataclass(frozen=True, slots=True)
class Output:
    """One output that the client asked for; `binary` None leaves the choice to the request's default."""

    name: str
    binary: bool | None = None
    classes: int = 0


@dataclass(slots=True)
class Request:
    """The head of a request; `inputs` are still undecoded descriptions, `raw` the bytes behind the JSON."""

    raw: memoryview
    id: str | None = None
    timeout: float | None = None
    priority: int = DEFAULT_PRIORITY
    binary: bool = False
    parameters: dict[str, Any] = field(default_factory=dict)  # the client's own, which go back with the answer
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    alone: bool = False  # no JSON: the body is the only input


def parse(body: bytes | memoryview, header_length: int | None) -> Request:
    """Reads the JSON part; `header_length` is its length where the Inference-Header-Content-Length header tells it."""
    view = memoryview(body)
    if header_length is None:
        head, raw = body, view[len(body) :]
    elif header_length == 0:
        return Request(view, binary=True, alone=True)
    elif header_length > len(body):
        raise InvalidArgument(f"the JSON part is said to have {header_length} bytes, the body has {len(body)}")
    else:
        head, raw = view[:header_length], view[header_length:]
    document, numbers = _load(head, header_length is not None)
    request = Request(raw, id=_id(document))
    options = parameters(document, "the request")
    request.timeout = _timeout(options)
    request.priority = _priority(options)
    request.binary = _flag(options, "binary_data_output") or False
    request.parameters = _echoed(options)
    request.inputs = _list(document, "inputs", required=True)
    if numbers:
        for item in request.inputs:
            data = item.get("data")
            if type(data) is str and data in numbers:
                item["data"] = numbers[data]
    request.outputs = _outputs(_list(document, "outputs"))
    return request


_FINDER = NumberFinder()


def _load(head: bytes | memoryview, framed: bool) -> tuple[dict[str, Any], dict[str, NumberText]]:
    """The document, in which arrays of numbers are the strings that name them."""
    skeleton, numbers = _FINDER.find(head)
    try:
        document = orjson.loads(skeleton)
    except orjson.JSONDecodeError:
        document, numbers = _load_whole(head, framed), {}
    if not isinstance(document, dict):
        raise InvalidArgument(f"the request must be a JSON object, got {type(document).__name__}")
    return document, numbers


def _load_whole(head: bytes | memoryview, framed: bool) -> object:
    try:
        return orjson.loads(head)
    except orjson.JSONDecodeError as error:
        return _load_lenient(bytes(head), error, framed)


def _load_lenient(head: bytes, error: Exception, framed: bool) -> object:
    """Triton's clients write NaN and Infinity as bare words, which strict JSON does not know."""
    if b"NaN" in head or b"Infinity" in head:
        try:
            return json.loads(head)
        except (ValueError, RecursionError):
            pass
    hint = "" if framed else "; a body with binary data needs the header Inference-Header-Content-Length"
    raise InvalidArgument(f"the request is not JSON: {error}{hint}")


def _id(document: dict[str, Any]) -> str | None:
    value = document.get("id")
    if value is not None and not isinstance(value, str):
        raise InvalidArgument(f"'id' must be a string, got {type(value).__name__}")
    if value is not None and not _is_json(value):
        raise InvalidArgument("'id' holds half of a surrogate pair")
    return value


def _list(document: dict[str, Any], key: str, required: bool = False) -> list[dict[str, Any]]:
    value = document.get(key)
    if value is None and not required:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidArgument(f"'{key}' must be an array of objects")
    return value


def parameters(item: dict[str, Any], owner: str) -> dict[str, Any]:
    value = item.get("parameters")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidArgument(f"'parameters' of {owner} must be an object, got {type(value).__name__}")
    return value


# Names that the protocol's extensions have taken; what a server does with them is no business of the answer.
_RESERVED = frozenset(
    ("binary_data_output", "headers", "priority", "sequence_end", "sequence_id", "sequence_start", "timeout")
)


def _echoed(options: dict[str, Any]) -> dict[str, Any]:
    if not options:
        return options
    for name, value in options.items():
        if not isinstance(value, (str, int, float)):
            raise InvalidArgument(f"parameter '{name}' must be a string, a number or a boolean, got {value!r}")
        if not (_is_json(name) and _is_json(value)):
            raise InvalidArgument(f"parameter {name!r} is nothing that JSON can carry back: {value!r}")
    return {key: one for key, one in options.items() if key not in _RESERVED and not key.startswith("triton_")}


def _is_json(value: str | float) -> bool:
    """Whether the answer can carry it. The lenient parser lets through what strict JSON does not know."""
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)
    return math.isfinite(value) if isinstance(value, float) else -(2**63) <= value < 2**64


def _timeout(options: dict[str, Any]) -> float | None:
    """Microseconds on the wire, seconds here; 0 is Triton's way to say nothing."""
    value = options.get("timeout")
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        value = int(value)
    if value is None or (type(value) is int and value == 0):
        return None
    if type(value) is not int or value < 0:
        raise InvalidArgument(f"'timeout' must be a number of microseconds, got {value!r}")
    return value / 1e6


def _priority(options: dict[str, Any]) -> int:
    """As Triton has it: 1 comes first, and 0 is the way to say nothing."""
    value = options.get("priority", 0)
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        value = int(value)
    if type(value) is not int or not 0 <= value <= MAX_PRIORITY:
        text = f"'priority' must be a number from 1 (first) to {MAX_PRIORITY}, or 0 for the default, got {value!r}"
        raise InvalidArgument(text)
    return value or DEFAULT_PRIORITY


def _flag(options: dict[str, Any], key: str) -> bool | None:
    value = options.get(key)
    if value is not None and type(value) is not bool:
        raise InvalidArgument(f"'{key}' must be true or false, got {value!r}")
    return value


def _outputs(items: list[dict[str, Any]]) -> list[Output]:
    outputs: dict[str, Output] = {}
    for item in items:
        name = item.get("name")
        if not isinstance(name, str):
            raise InvalidArgument("an output needs a 'name'")
        if name in outputs:
            raise InvalidArgument("is asked for twice", tensor=name)
        options = tensor_parameters(item, f"output '{name}'")
        classes = options.get("classification", 0)
        if type(classes) is not int or classes < 0:
            raise InvalidArgument(f"'classification' must be a number of classes, got {classes!r}", tensor=name)
        outputs[name] = Output(name, _flag(options, "binary_data"), classes)
    return list(outputs.values())


def tensor_parameters(item: dict[str, Any], owner: str) -> dict[str, Any]:
    """The parameters of an input or output, none of which may point into shared memory."""
    value = parameters(item, owner)
    if "shared_memory_region" in value:
        raise Unsupported(f"{owner}: shared memory is not supported, send the data in the request")
    return value
