"""From loading to the last answer."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.http import models
from tests.http.support import Raw, serving, until
from tests.http.test_load import ROWS, slow, slow_request
from ziggurat.errors import InvalidArgument


def test_required_models_decide_readiness(repository: Path) -> None:
    with serving(repository, models={"required": ("broken",)}) as running, Raw(running.port) as raw:
        assert raw.request("GET", "/v2/health/ready").status == 503
        assert raw.request("GET", "/v2/health/live").status == 200
        assert raw.request("GET", "/v2/models/pair/ready").status == 200


def test_a_required_model_that_is_not_there_is_an_error_at_the_start(repository: Path) -> None:
    with pytest.raises(InvalidArgument, match="required models are not there: nobody"):
        serving(repository, models={"required": "nobody"}).__enter__()


def test_a_server_whose_only_model_is_broken_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x07garbage")
    with serving(tmp_path) as running, Raw(running.port) as raw:
        assert raw.request("GET", "/v2/health/ready").status == 503
        assert raw.request("GET", "/v2/health/live").status == 200


def test_settings_that_cannot_be_read_are_logged_as_a_load_that_failed(tmp_path: Path) -> None:
    models.pair(tmp_path / "odd/1/model.onnx")
    (tmp_path / "odd/model.yaml").write_text("max_batchsize: 3\n", encoding="utf-8")
    with serving(tmp_path) as running:
        (line,) = [one for one in running.logged() if one["event"] == "model failed to load"]
    assert line["model"] == "odd" and line["level"] == "error" and "did you mean 'max_batch_size'" in line["reason"]


def test_what_model_yaml_says_of_language_models_is_refused_for_others(tmp_path: Path) -> None:
    models.pair(tmp_path / "odd/1/model.onnx")
    (tmp_path / "odd/model.yaml").write_text("language: {context: 64}\n", encoding="utf-8")
    with serving(tmp_path) as running, Raw(running.port) as raw:
        (entry,) = raw.request("POST", "/v2/repository/index").json()
    assert entry["state"] == "UNAVAILABLE" and "has `language`, but this is an ONNX model" in entry["reason"]


def test_one_file_is_served_under_the_name_given(tmp_path: Path) -> None:
    path = models.pair(tmp_path / "whatever.onnx")
    with serving(path, models={"name": "sums"}) as running, Raw(running.port) as raw:
        assert raw.request("GET", "/v2/models").json() == {"models": ["sums"]}


def test_two_servers_in_one_process_do_not_meet(repository: Path, tmp_path: Path) -> None:
    path = models.pair(tmp_path / "only.onnx")
    with serving(repository) as one, serving(path) as two, Raw(one.port) as first, Raw(two.port) as second:
        assert second.request("GET", "/v2/models").json() == {"models": ["only"]}
        assert first.request("GET", "/v2/models/only").status == 404
        assert b'model="pair"' not in second.request("GET", "/metrics").body


def test_a_stopping_server_is_not_ready_and_finishes_what_it_accepted(repository: Path) -> None:
    with serving(repository, limits={"running": 1}) as running, ThreadPoolExecutor(2) as clients:
        with Raw(running.port) as raw:
            assert raw.request("GET", "/v2/health/ready").status == 200
            accepted = [clients.submit(slow, running.port, 64) for _ in range(2)]
            until(lambda: running.service.serving.admission.waiting == 1, "one runs and one waits")
            running.stop(0.5)
            until(lambda: running.service.serving.draining, "it drains")
            assert raw.request("GET", "/v2/health/ready").status == 503, "not ready at once"
            assert raw.request("GET", "/v2/models/pair/ready").status == 503
            assert slow(running.port).status == 200, "new requests are served while proxies notice"
        assert [one.result().status for one in accepted] == [200, 200]


def test_what_outlives_the_grace_is_stopped_with_an_answer(repository: Path) -> None:
    with serving(repository, server={"grace": 0.3}) as running, ThreadPoolExecutor(1) as clients:
        endless = clients.submit(slow, running.port, ROWS)
        until(lambda: running.service.serving.admission.running == 1, "it runs")
        begin = time.monotonic()
        running.stop()
        reply = endless.result()
        assert reply.status == 503 and reply.error == "the server is stopping"
        assert time.monotonic() - begin < 3.0


def test_work_that_hangs_makes_the_server_not_live(repository: Path) -> None:
    with serving(repository, server={"hang": 0.2}) as running, Raw(running.port) as raw:
        assert raw.request("GET", "/v2/health/live").status == 200
        with ThreadPoolExecutor(1) as clients:
            busy = clients.submit(slow, running.port, ROWS, timeout=1_500_000)
            until(lambda: raw.request("GET", "/v2/health/live").status == 503, "the hang is noticed")
            busy.result()
        assert raw.request("GET", "/v2/health/live").status == 200


def test_failures_are_logged_with_the_requests_id(repository: Path) -> None:
    with serving(repository) as running, Raw(running.port) as raw:
        raw.infer("pair", {}, x_request_id="me-1")
        raw.infer("pair", *slow_request(1))
        lines = [line for line in running.logged() if line["event"] == "request"]
        assert lines[0] | {"status": 400, "request_id": "me-1", "path": "/v2/models/pair/infer"} == lines[0]
        assert "'inputs' must be an array" in lines[0]["error"]


def test_a_probe_that_hears_not_yet_is_no_error_in_the_log(repository: Path) -> None:
    with serving(repository, models={"required": ("broken",)}) as running, Raw(running.port) as raw:
        assert raw.request("GET", "/v2/health/ready").status == 503
        (line,) = [line for line in running.logged() if line["event"] == "request"]
        assert line["status"] == 503 and line["level"] == "info"


def test_what_does_not_fit_the_memory_limit_is_refused_with_numbers(tmp_path: Path) -> None:
    models.slow(tmp_path / "slow.onnx")
    with serving(tmp_path, engine={"memory_limit": "1MiB"}) as running:
        assert slow(running.port).status == 200
        refused = slow(running.port, 4096)
        assert refused.status == 503 and "1.0 MiB memory limit" in refused.error
        assert slow(running.port).status == 200
    with serving(tmp_path, engine={"memory_limit": "100KiB"}) as running, Raw(running.port) as raw:
        reply = raw.request("GET", "/v2/models/slow/ready")
        assert reply.status == 503 and "262144 bytes" in reply.error
