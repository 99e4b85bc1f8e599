"""Every element type in every way that a file may store it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from tests.formats.onnx.models import model, read, value
from tests.formats.onnx.recorder import Recorder
from ziggurat.errors import InvalidModel, Unsupported, ZigguratError
from ziggurat.formats.onnx import read_onnx

T = onnx.TensorProto
NUMERIC = [number for number in range(1, 29) if number != T.STRING]


def identity(tensor: Any) -> Any:
    node = helper.make_node("Identity", [tensor.name], ["y"], "n")
    if tensor.data_type in (T.FLOAT6E2M3, T.FLOAT6E3M2):  # which Identity does not take
        node = helper.make_node("Cast", [tensor.name], ["y"], "n", to=T.FLOAT)
    return model([node], [], [value("y", tensor.data_type, list(tensor.dims))], [tensor])


def stored(tensor: Any) -> Any:
    (found,) = read(identity(tensor)).graph.graph.initializer
    return numpy_helper.to_array(found)


def sample(dtype: int, count: int) -> np.ndarray[Any, Any]:
    """Bit patterns of the type, NaN apart."""
    storage = helper.tensor_dtype_to_np_dtype(dtype)
    bits = np.random.default_rng(dtype).integers(0, 2, count)
    return (np.arange(count) % 4 - bits).clip(0 if np.dtype(storage).kind == "u" else -2).astype(storage)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 4099])
@pytest.mark.parametrize("dtype", NUMERIC, ids=[T.DataType.Name(number) for number in NUMERIC])
def test_raw_data_of_every_type(dtype: int, count: int) -> None:
    array = sample(dtype, count)
    found = stored(numpy_helper.from_array(array, "w"))
    assert found.dtype == array.dtype
    assert found.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", NUMERIC, ids=[T.DataType.Name(number) for number in NUMERIC])
def test_typed_fields_of_every_type(dtype: int) -> None:
    array = sample(dtype, 9)
    tensor = helper.make_tensor("w", dtype, [3, 3], array.astype(np.complex128 if dtype in (14, 15) else array.dtype))
    assert not tensor.HasField("raw_data")
    assert stored(tensor).tobytes() == numpy_helper.to_array(tensor).tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", [T.INT4, T.UINT2, T.FLOAT6E3M2, T.BOOL])
def test_types_that_need_work_are_read_from_files_too(dtype: int, tmp_path: Path) -> None:
    array = sample(dtype, 20000)
    path = tmp_path / "m.onnx"
    path.write_bytes(identity(numpy_helper.from_array(array, "w")).SerializeToString())
    (found,) = read_onnx(path, Recorder).graph.graph.initializer
    assert numpy_helper.to_array(found).tobytes() == array.tobytes()


def test_a_bool_is_0_or_1_whatever_the_file_says() -> None:
    tensor = T(name="w", data_type=T.BOOL, dims=[4], raw_data=b"\x00\x01\x02\xff")
    assert stored(tensor).view(np.uint8).tolist() == [0, 1, 1, 1]


def test_strings_are_bytes_and_have_no_terminator() -> None:
    tensor = T(name="w", data_type=T.STRING, dims=[2, 1], string_data=[b"a\0b", "ü".encode()])
    (found,) = read(identity(tensor)).graph.graph.initializer
    assert list(found.string_data) == [b"a\0b", "ü".encode()]


def tensor(**fields: Any) -> Any:
    return T(**{"name": "w", "data_type": 1, "dims": [2, 2], **fields})


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (tensor(raw_data=b"\0" * 15), r"a float32 tensor of shape \[2, 2\] needs 16 bytes, but has 15 bytes"),
        (tensor(dims=[2**20, 2**20], raw_data=b"\0" * 16), "needs 4398046511104 bytes, but has 16 bytes"),
        (tensor(dims=[2**62, 2**62, 2**62], float_data=[1]), "more than 288230376151711744 elements"),
        (tensor(dims=[2**40], float_data=[1]), "needs 1099511627776 values, but has 1"),
        (tensor(), "needs 4 values, but has 0"),
        (tensor(dims=[-1, 2]), r"shape \[-1, 2\] has a negative dimension"),
        (tensor(data_type=99), "element type 99 does not exist"),
        (tensor(data_type=0), "element type 0 does not exist"),
        (tensor(int32_data=[1, 2, 3, 4]), "has data in int32_data, expected float_data"),
        (tensor(raw_data=b"\0" * 16, float_data=[1]), "has its data twice"),
        (tensor(data_type=T.STRING, raw_data=b"\0" * 16), "must have its elements in string_data"),
        (tensor(data_type=T.STRING, string_data=[b"a"]), "needs 4 strings, but has 1"),
        (tensor(data_type=T.INT4, raw_data=b"\0" * 3), "needs 2 bytes, but has 3 bytes"),
        (tensor(dims=[600], data_type=T.INT64, float_data=[1.0] * 600), "data in float_data, expected int64_data"),
    ],
)
def test_a_tensor_that_contradicts_itself_is_refused(proto: Any, message: str) -> None:
    with pytest.raises(InvalidModel, match=message) as caught:
        read(identity(proto))
    assert caught.value.tensor == "w"


def sparse(dims: list[int], values: Any, indices: Any) -> Any:
    found = onnx.SparseTensorProto(dims=dims)
    found.values.CopyFrom(numpy_helper.from_array(np.asarray(values, np.float32), "w"))
    found.indices.CopyFrom(numpy_helper.from_array(np.asarray(indices, np.int64), "i"))
    return found


def read_sparse(proto: Any, constant: bool) -> Any:
    nodes = [helper.make_node("Identity", ["w"], ["y"], "n")]
    if constant:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], "c", sparse_value=proto))
    made = model(nodes, [], [value("y", shape=None)])
    if not constant:
        made.graph.sparse_initializer.append(proto)
    (found,) = read(made).graph.graph.initializer
    return numpy_helper.to_array(found)


@pytest.mark.parametrize("constant", [False, True], ids=["initializer", "Constant"])
def test_sparse_tensors_become_dense(constant: bool) -> None:
    expected = np.array([[0, 5, 0], [0, 0, 6]], np.float32)
    assert (read_sparse(sparse([2, 3], [5, 6], [1, 5]), constant) == expected).all()
    assert (read_sparse(sparse([2, 3], [5, 6], [[0, 1], [1, 2]]), constant) == expected).all()
    assert (read_sparse(sparse([2, 3], [], []), constant) == 0).all()


@pytest.mark.parametrize(
    ("proto", "error", "message"),
    [
        (sparse([2, 3], [5.0], [6]), InvalidModel, "outside shape"),
        (sparse([2, 3], [5.0], [-1]), InvalidModel, "outside shape"),
        (sparse([2, 3], [5.0], [[0, 3]]), InvalidModel, "outside shape"),
        (sparse([2, 3], [5.0], [[0, 1, 2]]), InvalidModel, r"indices have shape \[1, 3\], expected \[1\] or \[1, 2\]"),
        (sparse([2**20, 2**20], [5.0], [1]), Unsupported, "more than 2147483648 bytes when dense"),
        (sparse([-2, 3], [5.0], [1]), InvalidModel, "negative dimension"),
    ],
)
def test_a_sparse_tensor_that_contradicts_itself_is_refused(
    proto: Any, error: type[ZigguratError], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_sparse(proto, constant=False)


@settings(max_examples=200, deadline=2000)
@given(st.data())
def test_any_tensor_is_read_or_refused(data: st.DataObject) -> None:
    proto = T(name="w", data_type=data.draw(st.integers(0, 30)))
    proto.dims.extend(data.draw(st.lists(st.integers(-2, 5) | st.sampled_from([2**31, 2**62]), max_size=4)))
    if data.draw(st.booleans()):
        proto.raw_data = data.draw(st.binary(max_size=64))
    proto.int32_data.extend(data.draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4)))
    proto.float_data.extend(data.draw(st.lists(st.floats(width=32), max_size=4)))
    with contextlib.suppress(ZigguratError):
        read(identity(proto))
