"""tritonclient's HTTP client, unmodified."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from tritonclient import http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.http.support import Running

ARRAYS = [
    np.array([True, False]),
    np.array([1, 255], np.uint8),
    np.array([2**64 - 1, 0], np.uint64),
    np.array([-(2**63), 2**53 + 1], np.int64),
    np.array([-5, 5], np.int32),
    np.array([1.5, -2.25], np.float32),
    np.array([0.1, 1e300]),
    np.array([b"bytes", "grüße".encode(), b""], object),
]
BINARY_ONLY = [np.array([1.5, np.inf], np.float16), np.array([1.5, 3e38], ml_dtypes.bfloat16)]


@pytest.fixture
def client(server: Running) -> Iterator[Any]:
    connection = http.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=4)
    yield connection
    connection.close()


def infer(client: Any, array: np.ndarray, binary_in: bool, binary_out: bool, **more: Any) -> Any:
    datatype = np_to_triton_dtype(array.dtype)
    tensor = http.InferInput("x", array.shape, datatype).set_data_from_numpy(array, binary_data=binary_in)
    output = http.InferRequestedOutput("y", binary_data=binary_out)
    return client.infer(f"identity/{datatype.lower()}", [tensor], outputs=[output], **more)


@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
def test_values_survive_in_every_form(client: Any, array: np.ndarray, binary_in: bool, binary_out: bool) -> None:
    got = infer(client, array, binary_in, binary_out).as_numpy("y")
    if array.dtype == object and not binary_out:
        got = np.array([text.encode() for text in got], object)
    np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("array", BINARY_ONLY, ids=lambda array: str(array.dtype))
def test_half_precision_survives_as_binary(client: Any, array: np.ndarray) -> None:
    np.testing.assert_array_equal(infer(client, array, True, True).as_numpy("y"), array)


@pytest.mark.parametrize("binary_in", [True, False])
def test_non_finite_numbers_survive_json(client: Any, binary_in: bool) -> None:
    array = np.array([np.nan, np.inf, -np.inf, 1.0], np.float32)
    np.testing.assert_array_equal(infer(client, array, binary_in, False).as_numpy("y"), array)


def test_all_outputs_come_when_none_is_asked_for(client: Any) -> None:
    a = np.array([[1, 2]], np.float32)
    inputs = [http.InferInput(name, a.shape, "FP32").set_data_from_numpy(a) for name in ("a", "b")]
    result = client.infer("pair", inputs, request_id="7")
    np.testing.assert_array_equal(result.as_numpy("sum"), a + a)
    np.testing.assert_array_equal(result.as_numpy("difference"), a - a)
    assert result.get_response()["id"] == "7"


@pytest.mark.parametrize("how", ["gzip", "deflate"])
def test_compressed_requests_are_understood(client: Any, how: str) -> None:
    array = np.arange(1000, dtype=np.float32)
    got = infer(client, array, True, True, request_compression_algorithm=how, response_compression_algorithm=how)
    np.testing.assert_array_equal(got.as_numpy("y"), array)


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("pair") and client.is_model_ready("pair", "1")
    assert not client.is_model_ready("broken") and not client.is_model_ready("nobody")
    assert client.get_server_metadata()["name"] == "ziggurat"
    assert client.get_model_metadata("pair", "1")["inputs"][0]["datatype"] == "FP32"


def test_asynchronous_requests_share_the_server(client: Any) -> None:
    array = np.arange(1000, dtype=np.float32)
    inputs = [http.InferInput("x", array.shape, "FP32").set_data_from_numpy(array)]
    for pending in [client.async_infer("identity/fp32", inputs) for _ in range(16)]:
        np.testing.assert_array_equal(pending.get_result().as_numpy("y"), array)


def test_errors_carry_the_text_and_the_status(client: Any) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.get_model_metadata("nobody")
    assert caught.value.status() == "404" and caught.value.message() == "unknown model 'nobody'"
    wrong = http.InferInput("x", [1], "INT64").set_data_from_numpy(np.array([1]))
    with pytest.raises(InferenceServerException, match="expected datatype FP32, got 'INT64'"):
        client.infer("identity/fp32", [wrong])


def test_a_deadline_is_504(client: Any) -> None:
    array = np.ones((768, 256), np.float32)
    inputs = [http.InferInput("x", array.shape, "FP32").set_data_from_numpy(array)]
    with pytest.raises(InferenceServerException) as caught:
        client.infer("slow", inputs, timeout=20_000)
    assert caught.value.status() == "504"
