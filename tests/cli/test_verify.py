"""`ziggurat verify` and `inspect`, on files of every kind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.support import ziggurat
from tests.formats.architectures.checkpoints import config_of, tensors_of, write_folder, write_gguf
from tests.http import models
from ziggurat.cli.comparing import divergence


def test_an_onnx_model_agrees_with_onnxruntime(tmp_path: Path) -> None:
    path = models.pair(tmp_path / "pair.onnx")
    run = ziggurat("verify", str(path))
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("agrees") and "onnxruntime's largest magnitude" in run.stdout
    strict = ziggurat("verify", str(path), "--against", "onnxruntime", "--tolerance", "-1")
    assert strict.returncode == 1 and "DIFFERS" in strict.stdout


def test_peers_that_do_not_fit_are_one_line_and_status_2(tmp_path: Path) -> None:
    path = models.pair(tmp_path / "pair.onnx")
    for peer, says in (("tensorflow", "expected one of onnxruntime"), ("llama.cpp", "compared with onnxruntime")):
        run = ziggurat("verify", str(path), "--against", peer)
        assert run.returncode == 2 and says in run.stderr and run.stderr.count("\n") == 1


def test_inspect_shows_what_a_language_model_is(tmp_path: Path) -> None:
    config = config_of("qwen3")
    tensors = tensors_of(config)
    folder, file = write_folder(tmp_path / "m", config, tensors), write_gguf(tmp_path / "m.gguf", config, tensors)
    for path in (folder, file):
        run = ziggurat("inspect", str(path), "--json")
        assert run.returncode == 0, run.stderr
        report = json.loads(run.stdout)
        assert report["spec"]["architecture"] == "qwen3"
        assert report["spec"]["head_dim"] == 24
        assert {one["name"] for one in report["inputs"]} >= {"tokens", "positions", "kv"}
    run = ziggurat("inspect", str(file))
    assert "architecture     qwen3" in run.stdout


def test_divergence_is_zero_only_for_the_same_distribution() -> None:
    logits = np.random.default_rng(0).standard_normal((5, 30)).astype(np.float32)
    assert divergence(logits, logits + 3) == pytest.approx(0, abs=1e-6)
    assert divergence(np.array([[0.0, 0.0]]), np.array([[np.log(3.0), 0.0]])) == pytest.approx(0.1438, abs=1e-4)


@pytest.mark.heavy
def test_a_language_model_agrees_with_transformers(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    config = config_of("llama")
    folder = write_folder(tmp_path / "m", config, tensors_of(config))
    run = ziggurat("verify", str(folder), "--against", "transformers", "--tokens", "40")
    assert run.returncode == 0, run.stderr
    assert "after 40 of 40" in run.stdout and "agrees  logits" in run.stdout
