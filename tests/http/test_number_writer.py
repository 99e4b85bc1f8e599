"""Long arrays of numbers in answers, written by the core: every value comes back as it was."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import orjson
import pytest

from ziggurat import _native
from ziggurat.engine.json_numbers import NumberWriter

FLOATS = (np.float32, np.float64)
INTEGERS = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)


def written(array: np.ndarray[Any, Any]) -> bytes:
    text = _native.write_numbers(array)
    assert text is not None
    return text


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_float_comes_back_bit_for_bit_and_as_a_float(dtype: type[np.floating[Any]]) -> None:
    kind = np.uint32 if dtype is np.float32 else np.uint64
    bits = np.random.default_rng().integers(0, np.iinfo(kind).max, 20_000, kind, endpoint=True)
    array = bits.view(dtype)
    array = array[np.isfinite(array)]
    limits = np.finfo(dtype)
    edges = [0.0, -0.0, 1.0, -1.0, 3.0, 1e20, 1e22, limits.max, limits.min, limits.tiny, limits.smallest_subnormal]
    array = np.concatenate([np.array(edges, dtype), array])
    values = json.loads(written(array))
    assert all(type(value) is float for value in values)
    np.testing.assert_array_equal(np.array(values, dtype).view(kind), array.view(kind))
    others = orjson.loads(orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY))
    np.testing.assert_array_equal(np.array(others, dtype), array)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_every_integer_is_exact(dtype: type[np.integer[Any]]) -> None:
    limits = np.iinfo(dtype)
    array = np.random.default_rng().integers(limits.min, limits.max, 5_000, dtype, endpoint=True)
    array[:3] = limits.min, limits.max, 0
    assert json.loads(written(array)) == array.tolist()


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_json_has_no_number_for_is_a_string(dtype: type[np.floating[Any]]) -> None:
    assert written(np.array([math.nan, math.inf, -math.inf, 2.5], dtype)) == b'["NaN","Infinity","-Infinity",2.5]'


def test_shapes_do_not_matter_and_other_arrays_are_left_alone() -> None:
    assert written(np.arange(6, dtype=np.int16).reshape(2, 3)) == b"[0,1,2,3,4,5]"
    assert written(np.empty(0, np.float32)) == b"[]"
    assert _native.write_numbers(np.array([True])) is None
    assert _native.write_numbers(np.array([1], np.float16)) is None
    assert _native.write_numbers(np.arange(10)[::2]) is None


def test_a_document_is_put_together_from_parts_in_order() -> None:
    writer = NumberWriter()
    long, short = np.arange(NumberWriter.LEAST), np.arange(3)
    document = {"a": writer.take(long), "b": short.tolist(), "c": writer.take(long[::-1].copy()), "d": "x"}
    assert writer.take(short) is None
    parts = writer.join(orjson.dumps(document))
    assert len(parts) == 5
    expected = {"a": long.tolist(), "b": [0, 1, 2], "c": long[::-1].tolist(), "d": "x"}
    assert json.loads(b"".join(parts)) == expected
    assert NumberWriter().join(b"{}") == [b"{}"]
