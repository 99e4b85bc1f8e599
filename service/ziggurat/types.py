"""Plain values that every layer may hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model.

    Attributes:
        name: The tensor's name, as `run` takes and returns it.
        dtype: As NumPy or ml_dtypes spells it ("float32", "bfloat16", "int4"), or "string".
        shape: None where a dimension is dynamic; None as a whole where even the rank is unknown.
        dim_names: For each dimension the model's own name ("batch"), None where it has none.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    dim_names: tuple[str | None, ...] = ()
