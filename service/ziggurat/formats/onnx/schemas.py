"""The `onnx` package's operator schemas, looked up once each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import onnx.defs

# The native graph's ops are those of this ai.onnx opset; files may import any from OLDEST to it, and older ones
# whose ops already had the form of OLDEST.
NEWEST = 28
OLDEST = 6

# Ops that an adapter turns into another one.
RENAMED = {"Upsample": "Resize", "Scatter": "ScatterElements"}


class AttributeInfo(NamedTuple):
    kind: str  # the name of onnx.AttributeProto's type
    required: bool
    default: Any  # AttributeProto; without a name where there is none


@dataclass(frozen=True)
class Schema:
    since_version: int
    deprecated: bool
    attributes: dict[str, AttributeInfo]
    inputs: tuple[int, int]  # least and most
    outputs: tuple[int, int]
    variadic_from: int | None  # from this input on none may be left out
    raw: Any  # onnx.defs.OpSchema

    @property
    def has_function(self) -> bool:
        return bool(self.raw.has_function or self.raw.has_context_dependent_function)


class Catalog:
    """Schemas of one import; `find` is cheap for an op that has been asked for before."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, int], Schema | None] = {}

    def find(self, domain: str, op: str, version: int) -> Schema | None:
        """The schema in force at an opset version, None if there is no such op."""
        key = (domain, op, version)
        if key not in self._found:
            self._found[key] = _look_up(domain, op, version)
        return self._found[key]

    def newest(self, domain: str, op: str) -> Schema | None:
        return self.find(domain, op, NEWEST if domain == "" else 2**31 - 1)


def _look_up(domain: str, op: str, version: int) -> Schema | None:
    try:
        raw = onnx.defs.get_schema(op, version, domain)
    except onnx.defs.SchemaError:
        return None
    attributes = {
        name: AttributeInfo(info.type.name, info.required, info.default_value) for name, info in raw.attributes.items()
    }
    last = len(raw.inputs) - 1
    variadic = last if last >= 0 and raw.inputs[last].option.name == "Variadic" else None
    counts = ((raw.min_input, raw.max_input), (raw.min_output, raw.max_output))
    return Schema(raw.since_version, raw.deprecated, attributes, *counts, variadic, raw)
