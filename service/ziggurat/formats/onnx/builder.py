"""What the reader needs of a graph builder: the native `GraphBuilder`, or a recording one in tests.

Values are numbered; a number is valid in its graph and in all graphs nested in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

# A dimension: its size, the name of a symbol, or None where nothing is known.
Dimension: TypeAlias = int | str | None
Shape: TypeAlias = list[Dimension]
# The types of graph inputs that are not tensors, nested.
TypeSpec: TypeAlias = (
    tuple[Literal["tensor"], int, Shape | None]
    | tuple[Literal["sequence"], "TypeSpec"]
    | tuple[Literal["optional"], "TypeSpec"]
)
TensorAttribute: TypeAlias = tuple[Literal["tensor"], int, list[int], bytes | memoryview | list[bytes]]
# Lists are tagged, so that an empty one keeps its type.
Attribute: TypeAlias = (
    "int | float | bytes | tuple[Literal['ints'], list[int]] | tuple[Literal['floats'], list[float]]"
    " | tuple[Literal['strings'], list[bytes]] | TensorAttribute | tuple[Literal['type'], TypeSpec] | Builder"
)

ABSENT = -1  # stands for an optional input that a node does not have


class Builder(Protocol):
    """One graph under construction. `dtype` is onnx.TensorProto's number; sub-byte elements take a byte each."""

    def input(self, name: str, dtype: int, shape: Shape | None) -> int: ...
    def input_of_type(self, name: str, spec: TypeSpec) -> int: ...
    def constant(self, name: str, dtype: int, shape: list[int], data: bytes | memoryview) -> int: ...
    def string_constant(self, name: str, shape: list[int], values: list[bytes]) -> int: ...
    def constant_file(self, name: str, dtype: int, shape: list[int], path: str, offset: int, length: int) -> int: ...
    def node(
        self,
        domain: str,
        op: str,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[str],
        attributes: dict[str, Attribute],
    ) -> list[int]:
        """Adds a node and infers its outputs' types. An output named "" is unused."""
        ...

    def subgraph(self, name: str) -> Builder: ...
    def output(self, value: int, name: str) -> None: ...
    def dtype_of(self, value: int) -> int: ...
    def shape_of(self, value: int) -> Shape | None: ...
    def constant_value(self, value: int) -> np.ndarray[Any, Any] | None: ...
    def finish(self) -> Any: ...
    @staticmethod
    def knows(domain: str, op: str) -> bool: ...
