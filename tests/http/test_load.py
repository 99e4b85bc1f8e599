"""Many requests at once, too many, late ones, and clients that leave."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.http.models import SLOW_WIDTH
from tests.http.support import Raw, Reply, Running, serving, until
from ziggurat.serving.serving import QUICK_SECONDS

# A slow request of so many rows runs for seconds on any machine of today: 400 products with a 256 x 256 matrix.
ROWS = 8192


def slow_request(rows: int, **parameters: Any) -> tuple[dict[str, Any], bytes]:
    data = np.ones((rows, SLOW_WIDTH), np.float32).tobytes()
    tensor = {
        "name": "x",
        "datatype": "FP32",
        "shape": [rows, SLOW_WIDTH],
        "parameters": {"binary_data_size": len(data)},
    }
    return {
        "inputs": [tensor],
        "outputs": [{"name": "y", "parameters": {"classification": 1}}],
        "parameters": parameters,
    }, data


def slow(port: int, rows: int = 1, **parameters: Any) -> Reply:
    with Raw(port) as connection:
        return connection.infer("slow", *slow_request(rows, **parameters))


@pytest.fixture
def narrow(repository: Path) -> Any:
    """A server with one permit and one place in its queue."""
    with serving(repository, limits={"running": 1, "queue": 1}) as running:
        yield running


def running_now(server: Running) -> int:
    return server.service.serving.admission.running


def test_every_one_of_many_requests_is_answered_with_its_own_values(server: Running) -> None:
    def one(seed: int) -> bool:
        array = np.full(64, seed, np.float32)
        tensor = {"name": "x", "datatype": "FP32", "shape": [64], "parameters": {"binary_data_size": 256}}
        with Raw(server.port) as connection:
            replies = [connection.infer("identity/fp32", {"inputs": [tensor]}, array.tobytes()) for _ in range(10)]
        return all(reply.status == 200 and (reply.tensors()["y"] == array).all() for reply in replies)

    with ThreadPoolExecutor(16) as clients:
        assert all(clients.map(one, range(64)))
    assert running_now(server) == 0


def test_beyond_permits_and_queue_requests_are_refused_at_once(narrow: Running) -> None:
    with ThreadPoolExecutor(2) as clients:
        busy = [clients.submit(slow, narrow.port, ROWS, timeout=3_000_000) for _ in range(2)]
        until(lambda: narrow.service.serving.admission.waiting == 1, "one runs and one waits")
        begin = time.monotonic()
        refused = slow(narrow.port)
        seconds = time.monotonic() - begin
        assert refused.status == 429 and int(refused.headers["retry-after"]) >= 1
        assert refused.error == "1 requests are running and 1 waiting, which is the limit"
        assert seconds < 1.0, "a refusal does not wait for a turn"
        with Raw(narrow.port) as connection:
            assert connection.request("GET", "/v2/health/ready").status == 200
            assert b'ziggurat_rejected_total{reason="queue_full"} 1.0' in connection.request("GET", "/metrics").body
        assert {request.result().status for request in busy} <= {200, 504}
    assert slow(narrow.port).status == 200


def test_a_deadline_holds_in_the_queue(narrow: Running) -> None:
    with ThreadPoolExecutor(1) as clients:
        busy = clients.submit(slow, narrow.port, ROWS, timeout=2_000_000)
        until(lambda: running_now(narrow) == 1, "the first runs")
        begin = time.monotonic()
        late = slow(narrow.port, timeout=50_000)
        assert late.status == 504 and "in the queue" in late.error
        assert time.monotonic() - begin < 1.5
        busy.result()


def test_a_deadline_holds_in_the_run(narrow: Running) -> None:
    begin = time.monotonic()
    reply = slow(narrow.port, ROWS, timeout=200_000)
    assert reply.status == 504 and reply.error
    assert time.monotonic() - begin < 2.0


def test_the_servers_own_deadline_holds_for_requests_without_one(repository: Path) -> None:
    with serving(repository, limits={"timeout": 0.2}) as running:
        assert slow(running.port, ROWS).status == 504


def test_a_quick_model_is_run_without_a_thread_until_it_takes_long(narrow: Running) -> None:
    entry = narrow.service.registry.find("slow")
    entry.seconds = 0.0  # as if it had been quick so far
    assert slow(narrow.port, 60).status == 200, "what was begun on the event loop is done on a thread"
    assert entry.seconds > QUICK_SECONDS
    quick = narrow.service.registry.find("identity/fp32")
    tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}
    with Raw(narrow.port) as connection:
        until(
            lambda: (
                connection.infer("identity/fp32", {"inputs": [tensor]}).status == 200 and quick.seconds < QUICK_SECONDS
            ),
            "",
        )
        assert connection.infer("identity/fp32", {"inputs": [tensor], "parameters": {"timeout": 1}}).status == 504


def test_a_client_that_leaves_frees_its_permit(narrow: Running) -> None:
    connection = Raw(narrow.port)
    document, data = slow_request(ROWS)
    head = json.dumps(document).encode()
    connection.send("POST", "/v2/models/slow/infer", head + data, inference_header_content_length=str(len(head)))
    until(lambda: running_now(narrow) == 1, "it runs")
    begin = time.monotonic()
    connection.close()
    until(lambda: running_now(narrow) == 0, "its run ends")
    assert time.monotonic() - begin < 2.0
    until(lambda: any(line.get("status") == 499 for line in narrow.logged()), "it is logged as 499")
    with Raw(narrow.port) as other:
        assert b'code="499"' in other.request("GET", "/metrics").body


def test_clients_that_leave_the_queue_or_the_middle_of_a_body_leave_nothing_behind(narrow: Running) -> None:
    document, data = slow_request(1)
    head = json.dumps(document).encode()
    with ThreadPoolExecutor(1) as clients:
        busy = clients.submit(slow, narrow.port, ROWS, timeout=1_000_000)
        until(lambda: running_now(narrow) == 1, "the first runs")
        queued = Raw(narrow.port)
        queued.send("POST", "/v2/models/slow/infer", head + data, inference_header_content_length=str(len(head)))
        until(lambda: narrow.service.serving.admission.waiting == 1, "the second waits")
        queued.close()
        until(lambda: narrow.service.serving.admission.waiting == 0, "the second has left the queue")
        busy.result()
    with Raw(narrow.port) as half:
        half.socket.sendall(b"POST /v2/models/slow/infer HTTP/1.1\r\nhost: t\r\ncontent-length: 1000\r\n\r\nabc")
    until(lambda: running_now(narrow) == 0, "all permits are back")
    assert slow(narrow.port).status == 200
