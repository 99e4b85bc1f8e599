"""V2's names for element types beside the engine's.

V2 names BOOL to FP64, BYTES and (by Triton's addition) BF16. The types below that line have no name there; ours follow
the same spelling, and a client that knows them can send them as binary data, one byte for each sub-byte element.
"""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np

from ziggurat.errors import Unsupported
from ziggurat.types import TensorSpec


@dataclass(frozen=True, slots=True)
class Datatype:
    """`json` is false where JSON numbers cannot carry the type exactly and clients expect binary data."""

    name: str
    engine: str
    dtype: np.dtype[np.generic] | None  # None for BYTES, whose elements have lengths of their own
    json: bool = True

    @property
    def size(self) -> int:
        return self.dtype.itemsize if self.dtype is not None else 0


def _plain(name: str, engine: str) -> Datatype:
    return Datatype(name, engine, np.dtype(engine).newbyteorder("<"))


def _binary(name: str, engine: str) -> Datatype:
    return Datatype(name, engine, np.dtype(getattr(ml_dtypes, engine, engine)), json=False)


ALL = (
    _plain("BOOL", "bool"),
    _plain("UINT8", "uint8"),
    _plain("UINT16", "uint16"),
    _plain("UINT32", "uint32"),
    _plain("UINT64", "uint64"),
    _plain("INT8", "int8"),
    _plain("INT16", "int16"),
    _plain("INT32", "int32"),
    _plain("INT64", "int64"),
    _binary("FP16", "float16"),
    _plain("FP32", "float32"),
    _plain("FP64", "float64"),
    _binary("BF16", "bfloat16"),
    Datatype("BYTES", "string", None),
    # Ours.
    _binary("INT4", "int4"),
    _binary("UINT4", "uint4"),
    _binary("INT2", "int2"),
    _binary("UINT2", "uint2"),
    _binary("FP4E2M1FN", "float4_e2m1fn"),
    _binary("FP6E2M3FN", "float6_e2m3fn"),
    _binary("FP6E3M2FN", "float6_e3m2fn"),
    _binary("FP8E4M3FN", "float8_e4m3fn"),
    _binary("FP8E4M3FNUZ", "float8_e4m3fnuz"),
    _binary("FP8E5M2", "float8_e5m2"),
    _binary("FP8E5M2FNUZ", "float8_e5m2fnuz"),
    _binary("FP8E8M0FNU", "float8_e8m0fnu"),
    _binary("COMPLEX64", "complex64"),
    _binary("COMPLEX128", "complex128"),
)

# What a model may take or give besides tensors; told in its metadata, but with no form in V2.
NO_TENSORS = frozenset(("sequence", "optional", "map", "sparse", "resource"))

BY_NAME = {one.name: one for one in ALL}
BY_ENGINE = {one.engine: one for one in ALL}


def datatype_of(spec: TensorSpec) -> Datatype:
    if spec.dtype in NO_TENSORS:
        raise Unsupported(f"is no tensor but of kind '{spec.dtype}', which V2 cannot carry", tensor=spec.name)
    return BY_ENGINE[spec.dtype]


# The least and the largest byte that is an element, for types of which a byte could hold more than there are. A signed
# element takes its sign along: -8 of INT4 is the byte 0xF8.
BYTE_RANGES: dict[str, tuple[int, int]] = {
    "BOOL": (0, 1),
    "INT4": (-8, 7),
    "UINT4": (0, 15),
    "INT2": (-2, 1),
    "UINT2": (0, 3),
    "FP4E2M1FN": (0, 15),
    "FP6E2M3FN": (0, 63),
    "FP6E3M2FN": (0, 63),
}
