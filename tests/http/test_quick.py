"""The short way of small requests to quick models: the same answers, and only where nothing is special."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.http.support import Raw, Running, serving

DOCUMENT = {"id": "7", "inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1.5, -2]}]}
BODY = json.dumps(DOCUMENT).encode()
PATH = "/v2/models/identity/fp32/infer"


class Counted:
    """A server that tells how many requests took the short way."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.answers = 0
        self._quick = running.service.api.quick
        running.service.api.quick = self._count  # type: ignore[method-assign]

    def _count(self, *request: Any) -> Any:
        self.running.service.registry.find("identity/fp32").seconds = 0.0  # quick, whatever this machine is busy with
        answer = self._quick(*request)
        self.answers += answer is not None
        return answer


@pytest.fixture
def counted(repository: Path) -> Iterator[Counted]:
    with serving(repository) as running:
        yield Counted(running)


@pytest.fixture
def raw(counted: Counted) -> Iterator[Raw]:
    with Raw(counted.running.port) as connection:
        yield connection


def test_the_answer_is_that_of_the_usual_way(counted: Counted, raw: Raw) -> None:
    quick = raw.request("POST", PATH, BODY, x_request_id="mine")
    assert counted.answers == 1
    usual = raw.request("POST", PATH.replace("fp32", "%66p32"), BODY, x_request_id="mine")
    assert counted.answers == 1, "an escaped path is not worth the trouble"
    assert quick.status == usual.status == 200 and quick.body == usual.body
    assert set(quick.headers) == set(usual.headers)
    assert quick.headers["x-request-id"] == usual.headers["x-request-id"] == "mine"


def test_it_is_counted_like_any_other(counted: Counted, raw: Raw) -> None:
    assert raw.request("POST", PATH, BODY).status == 200 and counted.answers == 1
    text = raw.request("GET", "/metrics").body.decode()

    assert re.search(r'ziggurat_requests_total{[^}]*model="identity/fp32"[^}]*} 1.0', text)
    statistics = raw.request("GET", "/v2/models/identity/fp32/stats").json()["model_stats"][0]
    assert statistics["inference_count"] == statistics["execution_count"] == 1


def test_requests_in_a_row_are_answered_in_a_row(counted: Counted, raw: Raw) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: "
    bodies = [json.dumps({**DOCUMENT, "id": str(number)}).encode() for number in range(12)]
    raw.socket.sendall(b"".join(head.encode() + f"{len(one)}\r\n\r\n".encode() + one for one in bodies))
    assert [raw.reply().json()["id"] for _ in bodies] == [str(number) for number in range(12)]
    assert counted.answers < 12, "a burst lets others have a turn"


def test_a_body_that_comes_in_pieces_is_waited_for(counted: Counted, raw: Raw) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()
    for cut in (len(head), len(head) + 10):
        whole = head + BODY
        raw.socket.sendall(whole[:cut])
        time.sleep(0.05)
        raw.socket.sendall(whole[cut:])
        assert raw.reply().json()["id"] == "7"
    assert counted.answers == 0
    assert raw.request("POST", PATH, BODY).status == 200 and counted.answers == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{}", 400), (b"no json", 400), (BODY.replace(b"FP32", b"INT8"), 400), (BODY.replace(b"[2]", b"[3]"), 400)],
)
def test_errors_take_the_usual_way(counted: Counted, raw: Raw, body: bytes, status: int) -> None:
    reply = raw.request("POST", PATH, body)
    assert reply.status == status and reply.error and counted.answers == 0
    assert any(line.get("path") == PATH and line.get("status") == status for line in counted.running.logged())
    assert raw.request("POST", PATH, BODY).status == 200 and counted.answers == 1, "and the connection goes on"


@pytest.mark.parametrize(
    "headers",
    [
        {"expect": "100-continue"},
        {"connection": "close"},
        {"accept_encoding": "gzip"},
        {"content_encoding": "identity"},
    ],
)
def test_what_is_special_is_answered_too(counted: Counted, raw: Raw, headers: dict[str, str]) -> None:
    raw.send("POST", PATH, BODY, **headers)
    if "expect" in headers:
        assert raw._file.readline().startswith(b"HTTP/1.1 100") and raw._file.readline() == b"\r\n"
    reply = raw.reply()
    assert reply.status == 200 and reply.json()["id"] == "7"
    assert (reply.headers.get("connection") == "close") == ("connection" in headers)


def test_unknown_models_and_other_methods_are_refused_as_ever(counted: Counted, raw: Raw) -> None:
    assert raw.request("POST", "/v2/models/nobody/infer", BODY).status == 404
    assert raw.request("GET", PATH).status == 405
    assert raw.request("POST", PATH + "?a=b", BODY).status == 200
    assert counted.answers == 0


def test_a_slow_model_is_begun_again_on_a_thread(counted: Counted, raw: Raw) -> None:
    entry = counted.running.service.registry.find("slow")
    entry.seconds = 0.0
    item = {"name": "x", "datatype": "FP32", "shape": [60, 256], "parameters": {"binary_data_size": 60 * 1024}}
    assert raw.infer("slow", {"inputs": [item]}, bytes(60 * 1024)).status == 200
    assert counted.answers == 0
