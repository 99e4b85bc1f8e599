"""Blocks of 8 and 4 bits are those of the reference quantiser, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf.quants import dequantize, quantize

from ziggurat.formats.architectures.quantise import quantise_q4_0, quantise_q8_0


@pytest.mark.parametrize(("quantise", "kind"), [(quantise_q8_0, Kind.Q8_0), (quantise_q4_0, Kind.Q4_0)])
def test_blocks_are_those_of_the_reference(quantise: object, kind: Kind) -> None:
    assert callable(quantise)
    rows = np.random.default_rng(0).standard_normal((37, 96), dtype=np.float32)
    rows[3] = 0
    rows[4, :32] = np.linspace(-1, 1, 32)
    rows[5] *= 1e-6
    rows[6] = -np.abs(rows[6])
    rows[7, 40] = 1000
    got = quantise(rows)
    assert np.array_equal(got, quantize(rows, kind))
    step = np.abs(rows).reshape(-1, 32).max(axis=1) / (127 if kind == Kind.Q8_0 else 8)
    apart = np.abs(dequantize(got, kind) - rows).reshape(-1, 32).max(axis=1)
    # A scale is a float16: below 6e-8 it is rounded to multiples of that, 127 of which are 1e-5.
    assert (apart <= 1.01 * step + 1e-5).all()
