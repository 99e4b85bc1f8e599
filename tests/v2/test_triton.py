"""Every call that tritonclient's HTTP client has, unmodified."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient import http
from tritonclient.utils import InferenceServerException

from tests.http import models
from tests.http.support import Running

UNSUPPORTED: dict[str, Callable[[Any], Any]] = {
    "get_trace_settings": lambda client: client.get_trace_settings(),
    "get_trace_settings of a model": lambda client: client.get_trace_settings("v2_pair"),
    "update_trace_settings": lambda client: client.update_trace_settings(settings={"trace_level": "OFF"}),
    "get_system_shared_memory_status": lambda client: client.get_system_shared_memory_status(),
    "register_system_shared_memory": lambda client: client.register_system_shared_memory("a", "/a", 16),
    "unregister_system_shared_memory": lambda client: client.unregister_system_shared_memory("a"),
    "unregister all": lambda client: client.unregister_system_shared_memory(),
    "get_cuda_shared_memory_status": lambda client: client.get_cuda_shared_memory_status("a"),
    "register_cuda_shared_memory": lambda client: client.register_cuda_shared_memory("a", b"handle", 0, 16),
    "unregister_cuda_shared_memory": lambda client: client.unregister_cuda_shared_memory(),
}


@pytest.fixture
def client(own_server: Running) -> Iterator[Any]:
    connection = http.InferenceServerClient(f"127.0.0.1:{own_server.port}", concurrency=4)
    yield connection
    connection.close()


def x(array: np.ndarray) -> list[Any]:
    return [http.InferInput("x", array.shape, "FP32").set_data_from_numpy(array)]


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("v2_pair") and client.is_model_ready("v2_pair", "1")
    assert not client.is_model_ready("v2_nobody")
    assert "model_repository" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("v2_pair", "1")["platform"] == "onnx_onnxv1"
    config = client.get_model_config("v2_batched", "1")
    assert (config["backend"], config["max_batch_size"]) == ("ziggurat", 8)


def test_inference_with_everything_that_a_request_may_say(client: Any) -> None:
    array = np.array([[1, 4, 2, 3]], np.float32)
    output = http.InferRequestedOutput("y", binary_data=True, class_count=2)
    result = client.infer(
        "v2_batched",
        x(array),
        model_version="1",
        outputs=[output],
        request_id="7",
        priority=1,
        timeout=10_000_000,
        headers={"x-request-id": "mine"},
        query_params={"test": 1},
        request_compression_algorithm="gzip",
        response_compression_algorithm="deflate",
        parameters={"custom": "kept"},
    )
    assert result.as_numpy("y").tolist() == [[b"4.0:1:bee", b"3.0:3:dog"]]
    response = result.get_response()
    assert response["id"] == "7" and response["parameters"] == {"custom": "kept"}


def test_asynchronous_requests(client: Any) -> None:
    arrays = [np.full((1, 4), value, np.float32) for value in range(8)]
    pending = [client.async_infer("v2_batched", x(array)) for array in arrays]
    for array, one in zip(arrays, pending, strict=True):
        np.testing.assert_array_equal(one.get_result().as_numpy("y"), array)


def test_bodies_can_be_made_and_read_without_a_request() -> None:
    array = np.ones((1, 4), np.float32)
    body, length = http.InferenceServerClient.generate_request_body(x(array))
    assert json.loads(body[:length])["inputs"][0]["name"] == "x"


def test_the_repository_follows_calls(client: Any, tmp_path: Path) -> None:
    def states(name: str) -> dict[str, str]:
        rows = client.get_model_repository_index()
        return {row["version"]: row["state"] for row in rows if row["name"] == name}

    client.unload_model("v2_pair")
    assert states("v2_pair") == {"1": "UNAVAILABLE", "2": "UNAVAILABLE"} and not client.is_model_ready("v2_pair")
    client.load_model("v2_pair", config=json.dumps({"version_policy": {"specific": {"versions": [1]}}}))
    assert client.get_model_metadata("v2_pair")["versions"] == ["1"]
    client.load_model("v2_pair")
    assert states("v2_pair") == {"1": "READY", "2": "READY"}
    model = models.pair(tmp_path / "m.onnx").read_bytes()
    client.load_model("sent/along", config="{}", files={"file:3/model.onnx": model})
    assert client.get_model_metadata("sent/along")["versions"] == ["3"]
    client.unload_model("sent/along")
    with pytest.raises(InferenceServerException, match="holds no such model"):
        client.load_model("sent/along")


@pytest.mark.parametrize(
    ("config", "files", "says"),
    [
        ('{"max_batchsize": 1}', None, "did you mean 'max_batch_size'"),
        ("not json", None, "not JSON"),
        (None, {"file:1/model.onnx": b"x"}, "need the parameter 'config'"),
        ("{}", {"file:../model.onnx": b"x"}, "only '<version>/model.onnx'"),
        ("{}", {"file:1/model.onnx": b"no model"}, "not an ONNX model"),
    ],
)
def test_loads_that_cannot_be(client: Any, config: str | None, files: dict[str, bytes] | None, says: str) -> None:
    with pytest.raises(InferenceServerException, match=says):
        client.load_model("v2_pair", config=config, files=files)
    assert client.is_model_ready("v2_pair"), "what served before goes on serving"


def test_statistics_and_logging(client: Any) -> None:
    assert client.get_inference_statistics()["model_stats"]
    assert client.get_inference_statistics("v2_pair", "1")["model_stats"][0]["version"] == "1"
    assert client.update_log_settings({"log_verbose_level": 1})["log_verbose_level"] == 1
    assert client.update_log_settings({"log_verbose_level": 0}) == client.get_log_settings()
    with pytest.raises(InferenceServerException, match="'log_file' cannot be set"):
        client.update_log_settings({"log_file": "anywhere"})


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_there_says_so(client: Any, name: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        UNSUPPORTED[name](client)
    assert caught.value.status() == "501" and "not supported" in caught.value.message()
