from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ziggurat.errors import InvalidArgument
from ziggurat.http import tensors
from ziggurat.http.datatypes import ALL, BY_NAME, BYTE_RANGES

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
FIXED = [one for one in ALL if one.dtype is not None]
WITH_JSON = [one for one in FIXED if one.json]


@given(st.sampled_from(FIXED), SHAPES, st.data())
def test_bytes_round_trip(datatype: tensors.Datatype, shape: tuple[int, ...], data: st.DataObject) -> None:
    low, high = BYTE_RANGES.get(datatype.name, (-128, 127))
    count = int(np.prod(shape)) * datatype.size
    values = data.draw(st.lists(st.integers(low, high), min_size=count, max_size=count))
    raw = bytes(value % 256 for value in values)
    array = tensors.from_bytes(memoryview(raw), datatype, shape, "x")
    assert array.shape == shape and bytes(tensors.to_bytes(array, datatype)) == raw


@given(st.sampled_from(WITH_JSON), SHAPES, st.booleans(), st.data())
def test_json_round_trip(datatype: tensors.Datatype, shape: tuple[int, ...], nested: bool, data: st.DataObject) -> None:
    assert datatype.dtype is not None
    array = data.draw(arrays.arrays(datatype.dtype, shape))
    plain = array.tolist() if nested else array.reshape(-1).tolist()
    if np.isfinite(array).all():
        got = tensors.from_json(plain, datatype, shape, "x")
        np.testing.assert_array_equal(got, array, strict=True)
    values = tensors.to_json(array, datatype, "x")
    again = tensors.from_json(list(values.tolist() if isinstance(values, np.ndarray) else values), datatype, shape, "x")
    np.testing.assert_array_equal(again, array, strict=True)


@given(st.binary(max_size=40), st.integers(0, 5))
def test_any_bytes_are_elements_or_a_typed_error(raw: bytes, count: int) -> None:
    with contextlib.suppress(InvalidArgument):
        array = tensors.from_bytes(memoryview(raw), BY_NAME["BYTES"], (count,), "x")
        assert array.shape == (count,) and bytes(tensors.to_bytes(array, BY_NAME["BYTES"])) == raw


def test_a_strided_array_is_written_in_row_major_order() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert bytes(tensors.to_bytes(array, BY_NAME["FP32"])) == np.ascontiguousarray(array).tobytes()
    assert list(tensors.to_json(array, BY_NAME["FP32"], "y")) == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize("name", BYTE_RANGES)
def test_bytes_outside_a_narrow_types_range_are_refused(name: str) -> None:
    high = BYTE_RANGES[name][1]
    with pytest.raises(InvalidArgument, match="must lie in"):
        tensors.from_bytes(memoryview(bytes([high + 1])), BY_NAME[name], (1,), "x")
