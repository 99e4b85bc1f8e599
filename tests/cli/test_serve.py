"""`ziggurat serve` as a process: what it says, and how it stops."""

from __future__ import annotations

import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from tests.cli.support import serve, ziggurat
from tests.http import models
from tests.http.support import Raw, until
from tests.http.test_load import ROWS, slow


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("repository")
    models.pair(root / "pair.onnx")
    models.slow(root / "slow.onnx")
    (root / "broken.onnx").write_bytes(b"noise")
    return str(root)


def test_the_banner_tells_what_is_served_and_how(repository: str) -> None:
    with serve(repository, "--threads", "1", "--memory-limit", "1GiB") as server:
        port = server.port
        with Raw(port) as raw:
            assert raw.request("GET", "/v2/health/ready").status == 200
        server.says("slow version 1")
        for text in ("page", "/metrics", "threads 1: ", "1.0GiB", "this machine only, no keys"):
            assert text in server.output, server.output
        assert "✓ pair version 1 ready" in server.output and "✗ broken version 1: " in server.output


def test_health_answers_while_models_load(repository: str) -> None:
    with serve(repository) as server, Raw(server.port) as raw:
        assert raw.request("GET", "/v2/health/live").status == 200


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_accepted_requests_finish_and_ends_with_status_0(repository: str, which: signal.Signals) -> None:
    with serve(repository) as server, ThreadPoolExecutor(1) as clients:
        port = server.port
        accepted = clients.submit(slow, port, 512)
        with Raw(port) as raw:
            until(lambda: b"ziggurat_inflight_requests 1.0" in raw.request("GET", "/metrics").body, "it runs")
        server.process.send_signal(which)
        assert accepted.result().status == 200
        assert server.end() == 0, server.output


def test_after_sigterm_it_is_not_ready_but_serves_while_proxies_notice(repository: str) -> None:
    with serve(repository, "--set", "server.drain_delay=1.0") as server, Raw(server.port) as raw:
        server.process.send_signal(signal.SIGTERM)
        until(lambda: raw.request("GET", "/v2/health/ready").status == 503, "not ready")
        with Raw(server.port) as other:
            assert other.request("GET", "/v2/health/live").status == 200
        assert server.end() == 0


def test_a_run_that_fails_leaves_a_bundle_where_the_operator_wants_it(repository: str, tmp_path: Path) -> None:
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"], "bend")]
    inputs = [models.value("x", TensorProto.FLOAT, ["n"]), models.value("s", TensorProto.INT64, [2])]
    path = models.save(tmp_path / "bend.onnx", nodes, inputs, [models.value("y", TensorProto.FLOAT, ["p", "q"])])
    x = {"name": "x", "datatype": "FP32", "shape": [6], "data": list(range(6))}
    s = {"name": "s", "datatype": "INT64", "shape": [2], "data": [4, 2]}
    with serve(str(path), "--repro-dir", str(tmp_path / "repro")) as server, Raw(server.port) as raw:
        for _ in range(3):
            answer = raw.infer("bend", {"inputs": [x, s], "parameters": {"repro_dir": "/tmp"}})
            assert answer.status == 400 and "'bend'" in answer.json()["error"]
            assert "repro" not in answer.json()["error"]
        until(lambda: "a run failed; written to" in server.output, "it tells")
        server.process.send_signal(signal.SIGTERM)
        assert server.end() == 0
    (bundle,) = (tmp_path / "repro").iterdir()
    result = ziggurat("check", str(bundle))
    assert result.returncode == 1 and "plan     the same as then" in result.stdout, result.stdout + result.stderr
    assert result.stdout.count("'bend'") == 2


def test_the_grace_ends_what_does_not_end(repository: str) -> None:
    with serve(repository, "--set", "server.grace=0.3") as server, ThreadPoolExecutor(1) as clients:
        port = server.port
        endless = clients.submit(slow, port, ROWS)
        with Raw(port) as raw:
            until(lambda: b"ziggurat_inflight_requests 1.0" in raw.request("GET", "/metrics").body, "it runs")
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert endless.result().status == 503
        assert server.end() == 0 and time.monotonic() - begin < 5.0


def test_a_taken_port_is_one_line_and_status_2(repository: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = ziggurat("serve", repository, "--port", str(taken.getsockname()[1]))
    assert run.returncode == 2 and run.stderr.count("\n") == 1 and "Address already in use" in run.stderr


def test_a_required_model_that_is_missing_is_one_line_and_status_2(repository: str) -> None:
    run = ziggurat("serve", repository, "--port", "0", ZIGGURAT_MODELS__REQUIRED="pair,nobody")
    assert run.returncode == 2 and "required models are not there: nobody" in run.stderr


def test_a_stop_while_models_load_ends_with_status_0(tmp_path: Path) -> None:
    for number in range(6):
        models.slow(tmp_path / f"m{number}.onnx")
    with serve(str(tmp_path)) as server:
        server.says("listening")
        server.process.send_signal(signal.SIGTERM)
        assert server.end() == 0, server.output
