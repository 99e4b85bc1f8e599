"""Models that come, change and go while the server runs."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from tests.http import models
from tests.http.support import Raw, Reply, Running, serving, until
from ziggurat.serving.control import Watch

ONE = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models.identity(tmp_path / "m/1/model.onnx", TensorProto.FLOAT)
    models.identity(tmp_path / "m/2/model.onnx", TensorProto.FLOAT)
    (tmp_path / "m/model.yaml").write_text("aliases: [other/name]\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def raw(folder: Path) -> Iterator[Raw]:
    with serving(folder) as running, Raw(running.port) as connection:
        yield connection


def load(raw: Raw, name: str, **parameters: Any) -> Reply:
    body = json.dumps({"parameters": parameters}).encode() if parameters else b"{}"
    return raw.request("POST", f"/v2/repository/models/{name}/load", body)


def states(raw: Raw) -> dict[str, str]:
    rows = raw.request("POST", "/v2/repository/index", b"{}").json()
    return {f"{row['name']}/{row['version']}": row["state"] for row in rows}


def test_an_alias_asks_the_same_model(raw: Raw) -> None:
    reply = raw.infer("other/name", ONE)
    assert reply.status == 200 and reply.json()["model_name"] == "m"
    assert raw.request("GET", "/v2/models/other/name").json()["name"] == "other/name"


def test_an_alias_can_be_unloaded_and_loaded_too(raw: Raw) -> None:
    assert raw.request("POST", "/v2/repository/models/other/name/unload", b"").status == 200
    assert raw.infer("m", ONE).status == 503 and states(raw) == {"m/1": "UNAVAILABLE", "m/2": "UNAVAILABLE"}
    assert load(raw, "other/name").status == 200
    assert raw.infer("m", ONE).status == 200 and states(raw) == {"m/1": "READY", "m/2": "READY"}
    reply = load(raw, "other/name", config="{}", **{"file:1/model.onnx": "AAAA"})
    assert reply.status == 400 and "an alias of 'm'" in reply.error and raw.infer("m", ONE).status == 200


def test_a_model_that_appears_can_be_loaded(raw: Raw, folder: Path) -> None:
    models.identity(folder / "late.onnx", TensorProto.FLOAT)
    assert states(raw)["late/1"] == "UNAVAILABLE"
    assert raw.infer("late", ONE).status == 404
    assert load(raw, "late").status == 200
    assert raw.infer("late", ONE).status == 200 and states(raw)["late/1"] == "READY"


def test_a_reload_that_fails_leaves_what_serves(raw: Raw, folder: Path) -> None:
    (folder / "m/2/model.onnx").write_bytes(b"half a mod")
    reply = load(raw, "m")
    assert reply.status == 400 and "version 2" in reply.error
    assert raw.infer("m/versions/2", ONE).status == 200


def test_a_reload_serves_on_while_it_loads_and_the_new_file_after(raw: Raw, folder: Path) -> None:
    models.identity(folder / "m/2/model.onnx", TensorProto.FLOAT, ["n", 2])
    assert load(raw, "m").status == 200
    assert raw.request("GET", "/v2/models/m/versions/2").json()["inputs"][0]["shape"] == [-1, 2]


def test_versions_that_a_configuration_leaves_out_are_unloaded(raw: Raw) -> None:
    assert load(raw, "m", config='{"version_policy": {"latest": {"num_versions": 1}}}').status == 200
    assert states(raw) == {"m/1": "UNAVAILABLE", "m/2": "READY"}
    reply = raw.infer("m/versions/1", ONE)
    assert reply.status == 503 and reply.headers["retry-after"] == "1" and "not among" in reply.error


def test_an_unloaded_model_is_known_and_not_ready(raw: Raw) -> None:
    assert raw.request("POST", "/v2/repository/models/m/unload", b"").status == 200
    assert raw.infer("m", ONE).status == 503
    assert raw.request("GET", "/v2/health/ready").status == 200, "that was wanted: the server is as ready as before"


def test_an_unload_answers_what_was_accepted(tmp_path: Path) -> None:
    models.slow(tmp_path / "slow.onnx")
    document: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [300, 256]}
    document["parameters"] = {"binary_data_size": 300 * 256 * 4}
    replies: list[Reply] = []
    with serving(tmp_path) as running:

        def ask() -> None:
            with Raw(running.port) as connection:
                replies.append(connection.infer("slow", {"inputs": [document]}, bytes(300 * 256 * 4)))

        thread = threading.Thread(target=ask)
        thread.start()
        until(lambda: running.service.serving.admission.running == 1, "it runs")
        with Raw(running.port) as other:
            assert other.request("POST", "/v2/repository/models/slow/unload", b"").status == 200
            assert states(other)["slow/1"] in ("UNLOADING", "UNAVAILABLE")
            thread.join()
            until(lambda: states(other)["slow/1"] == "UNAVAILABLE", "the model goes when its last run has ended")
    assert replies[0].status == 200


def test_files_may_come_with_the_request(raw: Raw, tmp_path: Path) -> None:
    data = base64.b64encode(models.pair(tmp_path / "elsewhere/p.onnx").read_bytes()).decode()
    assert load(raw, "team/sent", config="{}", **{"file:4/model.onnx": data}).status == 200
    assert raw.request("GET", "/v2/models/team/sent").json()["versions"] == ["4"]
    bad = load(raw, "team/sent", config="{}", **{"file:4/model.onnx": "*"})
    assert bad.status == 400 and "not base64" in bad.error
    assert load(raw, "a/versions/b", config="{}", **{"file:1/model.onnx": data}).status == 400


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"origin": "http://127.0.0.1"}, False),
        ({"origin": "https://elsewhere.example"}, False),
        ({"x_forwarded_for": "10.0.0.1"}, False),
        ({"forwarded": "for=10.0.0.1"}, False),
        ({"host": "attacker.example"}, False),
        ({"host": "localhost:8000"}, True),
    ],
)
def test_only_this_machine_may_change_anything(folder: Path, headers: dict[str, str], allowed: bool) -> None:
    with serving(folder) as running, Raw(running.port) as connection:
        fields = {"host": "127.0.0.1:1", **headers}
        reply = connection.request("POST", "/v2/repository/models/m/load", b"{}", **fields)
        assert reply.status == (200 if allowed else 403), reply
        assert allowed or "server.admin" in reply.error


@pytest.mark.parametrize(("admin", "status"), [("open", 200), ("off", 403)])
def test_the_switch_decides_for_everyone(folder: Path, admin: str, status: int) -> None:
    with serving(folder, server={"admin": admin}) as running, Raw(running.port) as connection:
        reply = connection.request("POST", "/v2/repository/models/m/load", b"{}", x_forwarded_for="10.0.0.1")
        assert reply.status == status


@pytest.mark.parametrize("mode", ["none", "poll"])
def test_other_modes_refuse_calls(folder: Path, mode: str) -> None:
    with serving(folder, models={"path": folder, "mode": mode}) as running, Raw(running.port) as connection:
        reply = load(connection, "m")
        assert reply.status == 501 and f"'{mode}'" in reply.error


@pytest.fixture
def watched(folder: Path) -> Iterator[Running]:
    with serving(folder, models={"path": folder, "mode": "poll", "poll_interval": 0.1}) as running:
        yield running


def test_a_watched_folder_is_followed(watched: Running, folder: Path) -> None:
    with Raw(watched.port) as raw:
        models.identity(folder / "new.onnx", TensorProto.FLOAT)
        until(lambda: raw.infer("new", ONE).status == 200, "what appears is served")
        models.identity(folder / "new.onnx", TensorProto.FLOAT, ["n", 3])
        shape = lambda: raw.request("GET", "/v2/models/new").json()["inputs"][0]["shape"]  # noqa: E731
        until(lambda: shape() == [-1, 3], "what changes is reloaded")
        os.remove(folder / "new.onnx")
        until(lambda: raw.infer("new", ONE).status == 404, "what vanishes is forgotten")
        shutil.rmtree(folder / "m/2")
        until(lambda: raw.request("GET", "/v2/models/m").json()["versions"] == ["1"], "versions too")


def test_half_a_copy_is_left_alone(folder: Path) -> None:
    with serving(folder) as running:
        control = running.service.control
        watch = Watch(control)
        model = models.pair(folder.parent / f"{folder.name}-source.onnx").read_bytes()
        target = folder / "copied.onnx"

        def look() -> None:
            asyncio.run_coroutine_threadsafe(watch.look(), running.loop).result(30)

        for part in (model[:50], model[:100], model):
            target.write_bytes(part)
            look()  # each time another file than the last
            assert "copied" not in running.service.registry.names()
        look()
        assert running.service.registry.find("copied").ready_model()
        assert not any(line.get("event") == "model failed to load" for line in running.logged())


def test_requests_share_runs_over_http_with_the_bits_that_they_get_alone(tmp_path: Path) -> None:
    models.slow(tmp_path / "alone/model.onnx")
    models.slow(tmp_path / "shared/model.onnx")
    (tmp_path / "shared/model.yaml").write_text("max_batch_size: 16\n", encoding="utf-8")
    rng = np.random.default_rng(0)
    rows = [rng.standard_normal((1, 256), np.float32).tobytes() for _ in range(8)]
    item = {"name": "x", "datatype": "FP32", "shape": [1, 256], "parameters": {"binary_data_size": 1024}}
    document = {"inputs": [item], "parameters": {"binary_data_output": True}}
    answers: dict[tuple[str, int], bytes] = {}
    with serving(tmp_path) as running:

        def ask(model: str, index: int) -> None:
            with Raw(running.port) as connection:
                reply = connection.infer(model, document, rows[index])
                assert reply.status == 200
                answers[model, index] = reply.body[int(reply.headers["inference-header-content-length"]) :]

        for model in ("alone", "shared"):
            threads = [threading.Thread(target=ask, args=(model, index)) for index in range(len(rows))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        with Raw(running.port) as connection:
            text = connection.request("GET", "/metrics").body.decode()
            statistics = connection.request("GET", "/v2/models/shared/stats").json()["model_stats"][0]
    assert all(answers["alone", index] == answers["shared", index] for index in range(len(rows)))
    assert statistics["inference_count"] == len(rows) > statistics["execution_count"], statistics
    assert f'ziggurat_batch_size_sum{{model="shared",version="1"}} {len(rows)}.0' in text
