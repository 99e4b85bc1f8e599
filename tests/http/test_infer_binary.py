"""Inference with the binary tensor extension, both ways."""

from __future__ import annotations

import json
import struct
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.http.support import Raw, Reply

BINARY = {"binary_data_output": True}


def described(name: str, array: np.ndarray, datatype: str) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": datatype,
        "shape": list(array.shape),
        "parameters": {"binary_data_size": array.nbytes},
    }


def split(reply: Reply) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The JSON of a binary reply, and each output's bytes."""
    length = int(reply.headers["inference-header-content-length"])
    assert reply.headers["content-type"] == "application/octet-stream"
    document, rest = json.loads(reply.body[:length]), reply.body[length:]
    found: dict[str, bytes] = {}
    for one in document["outputs"]:
        if "parameters" in one:
            size = one["parameters"]["binary_data_size"]
            found[one["name"]], rest = rest[:size], rest[size:]
    assert rest == b""
    return document, found


@pytest.mark.parametrize(
    ("datatype", "array"),
    [
        ("BOOL", np.array([True, False, True])),
        ("UINT8", np.arange(5, dtype=np.uint8)),
        ("INT64", np.array([2**63 - 1, -(2**63)], np.int64)),
        ("FP16", np.array([1.5, np.nan, -0.0, 65504.0], np.float16)),
        ("BF16", np.array([1.5, np.inf, 3e38], ml_dtypes.bfloat16)),
        ("FP32", np.array([1.5, np.nan, -np.inf], np.float32)),
        ("FP64", np.array([0.1], np.float64)),
        ("FP32", np.zeros(0, np.float32)),
    ],
)
def test_bytes_come_back_as_they_went(raw: Raw, datatype: str, array: np.ndarray) -> None:
    document = {"inputs": [described("x", array, datatype)], "parameters": BINARY}
    reply = raw.infer(f"identity/{datatype.lower()}", document, array.tobytes() or b"")
    head, found = split(reply)
    assert head["outputs"][0]["datatype"] == datatype and head["outputs"][0]["shape"] == list(array.shape)
    assert found["y"] == array.tobytes()


def test_strings_travel_with_their_lengths(raw: Raw) -> None:
    values = [b"", b"\x00\xff", b"text"]
    data = b"".join(struct.pack("<I", len(one)) + one for one in values)
    item = {"name": "x", "datatype": "BYTES", "shape": [3], "parameters": {"binary_data_size": len(data)}}
    assert split(raw.infer("identity/bytes", {"inputs": [item], "parameters": BINARY}, data))[1]["y"] == data
    as_json = raw.infer("identity/bytes", {"inputs": [item]}, data)
    assert as_json.status == 400 and "not UTF-8" in as_json.error


def test_one_input_may_be_binary_and_the_other_json(raw: Raw) -> None:
    a = np.array([[1, 2]], np.float32)
    b = {"name": "b", "datatype": "FP32", "shape": [1, 2], "data": [10, 20]}
    reply = raw.infer("pair", {"inputs": [b, described("a", a, "FP32")]}, a.tobytes())
    np.testing.assert_array_equal(reply.tensors()["sum"], [[11, 22]])


def test_an_outputs_own_wish_wins_over_the_requests(raw: Raw) -> None:
    a = np.array([[1, 2]], np.float32)
    outputs = [{"name": "sum", "parameters": {"binary_data": False}}, {"name": "difference"}]
    document = {
        "inputs": [described("a", a, "FP32"), described("b", a, "FP32")],
        "outputs": outputs,
        "parameters": BINARY,
    }
    head, found = split(raw.infer("pair", document, a.tobytes() * 2))
    assert list(found) == ["difference"] and found["difference"] == np.zeros(2, np.float32).tobytes()
    assert head["outputs"][0]["data"] == [2.0, 4.0]


def test_large_tensors_come_whole(raw: Raw) -> None:
    array = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
    document = {"inputs": [described("x", array, "FP32")], "parameters": BINARY}
    assert split(raw.infer("identity/fp32", document, array.tobytes()))[1]["y"] == array.tobytes()


def raw_request(raw: Raw, model: str, body: bytes) -> Reply:
    return raw.request("POST", f"/v2/models/{model}/infer", body, inference_header_content_length="0")


@pytest.mark.parametrize(("model", "shape"), [("identity/fp32", [12]), ("grid", [3, 2, 2])])
def test_a_raw_body_is_the_only_input_and_its_size_tells_the_shape(raw: Raw, model: str, shape: list[int]) -> None:
    data = np.arange(12, dtype=np.float32).tobytes()
    head, found = split(raw_request(raw, model, data))
    assert head["outputs"][0]["shape"] == shape and found["y"] == data


def test_a_raw_body_of_bytes_is_one_element(raw: Raw) -> None:
    head, found = split(raw_request(raw, "identity/bytes", b"hello"))
    assert head["outputs"][0]["shape"] == [1] and found["y"] == struct.pack("<I", 5) + b"hello"


@pytest.mark.parametrize(
    ("model", "size", "says"),
    [
        ("pair", 8, "one input"),
        ("free", 8, "more than one dimension"),
        ("fixed", 20, "needs 24 bytes"),
        ("grid", 20, "needs 16 bytes"),
    ],
)
def test_a_raw_body_that_leaves_the_shape_open_is_refused(raw: Raw, model: str, size: int, says: str) -> None:
    reply = raw_request(raw, model, bytes(size))
    assert reply.status == 400 and says in reply.error
    assert raw.request("GET", "/v2/health/live").status == 200
