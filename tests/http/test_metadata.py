"""Health, server and model metadata."""

from __future__ import annotations

import contextlib
import http.client

import pytest

from tests.http.support import Raw, Running


def test_health_is_public_and_says_nothing_but_the_state(raw: Raw) -> None:
    assert raw.request("GET", "/v2/health/live").json() == {"live": True}
    assert raw.request("GET", "/health").json() == {"live": True}
    assert raw.request("GET", "/v2/health/ready").json() == {"ready": True}


@pytest.mark.parametrize("path", ["/v2/health/ready", "/v2/models/pair", "/metrics", "/v2/models/nobody", "/nowhere"])
def test_head_is_get_without_the_body(server: Running, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.closing(connection):
        replies = []
        for method in ("GET", "HEAD", "GET"):  # the last shows that the connection is still in step
            connection.request(method, path)
            reply = connection.getresponse()
            replies.append((reply.status, reply.headers["content-type"], bool(reply.read())))
    assert replies[0] == replies[2] and replies[1] == (*replies[0][:2], False)


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_tells_its_name_and_extensions(raw: Raw, path: str) -> None:
    document = raw.request("GET", path).json()
    assert document["name"] == "ziggurat" and document["version"]
    assert "binary_tensor_data" in document["extensions"]


def test_a_model_tells_its_tensors_with_minus_one_for_what_varies(raw: Raw) -> None:
    document = raw.request("GET", "/v2/models/pair").json()
    assert document["name"] == "pair" and document["versions"] == ["1", "3"]
    assert document["inputs"] == [{"name": name, "datatype": "FP32", "shape": [-1, 2]} for name in ("a", "b")]
    assert [one["name"] for one in document["outputs"]] == ["sum", "difference"]
    assert raw.request("GET", "/v2/models/fixed").json()["inputs"][0]["shape"] == [2, 3]


def test_versions_can_be_asked_for_by_number(raw: Raw) -> None:
    assert raw.request("GET", "/v2/models/pair/versions/1").status == 200
    assert raw.request("GET", "/v2/models/pair/versions/3/ready").json() == {"name": "pair", "ready": True}
    missing = raw.request("GET", "/v2/models/pair/versions/2")
    assert missing.status == 404 and missing.error == "model 'pair' has no version '2', only 1, 3"


def test_names_may_contain_slashes(raw: Raw) -> None:
    assert raw.request("GET", "/v2/models/identity/int64").json()["inputs"][0]["datatype"] == "INT64"
    assert raw.request("GET", "/v2/models/identity%2Fint64/ready").status == 200


def test_every_datatype_has_its_v2_name(raw: Raw, server: Running) -> None:
    for name in server.service.registry.names():
        if name.startswith("identity/"):
            document = raw.request("GET", f"/v2/models/{name}").json()
            assert document["inputs"][0]["datatype"] == name.removeprefix("identity/").upper()


def test_the_list_of_models_names_all_of_them(raw: Raw) -> None:
    assert {"pair", "broken", "identity/fp32"} <= set(raw.request("GET", "/v2/models").json()["models"])


@pytest.mark.parametrize("path", ["/v2/models/nobody", "/v2/models/nobody/ready", "/v2/models/nobody/versions/1"])
def test_an_unknown_model_is_404(raw: Raw, path: str) -> None:
    reply = raw.request("GET", path)
    assert reply.status == 404 and reply.error == "unknown model 'nobody'"


@pytest.mark.parametrize("path", ["/v2/models/broken", "/v2/models/broken/ready"])
def test_a_broken_model_is_503_with_its_reason_and_harms_no_other(raw: Raw, path: str) -> None:
    reply = raw.request("GET", path)
    assert reply.status == 503 and "retry-after" in reply.headers
    assert reply.error.startswith("model 'broken' version 1 is not available: ")
    assert raw.request("GET", "/v2/health/ready").status == 200
    assert raw.request("GET", "/v2/models/pair/ready").status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing/here", 404),
        ("POST", "/v2", 405),
        ("DELETE", "/v2/models/pair", 405),
        ("GET", "/v2/models/pair/infer", 405),
        ("GET", "/v2/models/pair/versions/1/infer", 405),
        ("PUT", "/v2/models/pair/infer", 405),
    ],
)
def test_wrong_paths_and_methods_answer_in_the_same_shape(raw: Raw, method: str, path: str, status: int) -> None:
    reply = raw.request(method, path)
    assert reply.status == status and reply.error
    assert raw.request("GET", "/v2/health/live").status == 200, "the connection stays usable"


def test_a_request_id_is_echoed_or_made(raw: Raw) -> None:
    assert raw.request("GET", "/v2", x_request_id="abc-1").headers["x-request-id"] == "abc-1"
    made = {raw.request("GET", "/v2").headers["x-request-id"] for _ in range(3)}
    assert len(made) == 3
    assert raw.request("GET", "/v2", x_request_id="a" * 200).headers["x-request-id"] != "a" * 200


def test_every_route_is_described(raw: Raw) -> None:
    paths = raw.request("GET", "/openapi.json").json()["paths"]
    assert {"/v2", "/v2/models/{name}", "/v2/models/{name}/versions/{version}/ready", "/metrics"} <= set(paths)
    assert list(paths["/v2/models/{name}/infer"]) == ["post"]
