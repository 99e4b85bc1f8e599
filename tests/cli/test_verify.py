"""`ziggurat verify` and `inspect`, on files of every kind."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from tests.cli.support import SERVICE, ziggurat
from tests.formats.architectures.checkpoints import config_of, tensors_of, write_folder, write_gguf
from tests.http import models
from tests.text.vocabularies import sentence_piece
from ziggurat.cli.comparing import divergence
from ziggurat.text.gguf import PREFIX


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


@pytest.mark.parametrize("kind", [Kind.F32, Kind.Q8_0, Kind.Q4_0], ids=lambda kind: kind.name)
def test_a_gguf_file_agrees_with_llama_cpp(tmp_path: Path, kind: Kind) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    metadata = sentence_piece()
    wide = {
        "hidden_size": 256,
        "head_dim": 64,
        "intermediate_size": 512,
        "vocab_size": len(metadata[f"{PREFIX}tokens"]),
    }
    config = {**config_of("llama"), **wide}
    path = write_gguf(tmp_path / "m.gguf", config, tensors_of(config), kind, metadata)
    run = ziggurat("verify", str(path), "--against", "llama.cpp", "--prompt", "Bread needs flour, water and time.")
    assert run.returncode == 0, run.stderr
    assert "agrees  logits" in run.stdout and "of llama.cpp's largest magnitude" in run.stdout
    apart = float(run.stdout.split("logits: ")[1].split()[0])
    assert apart < (1e-3 if kind == Kind.F32 else 0.1)


def test_a_file_that_llama_cpp_does_not_load_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    config = config_of("llama")
    run = ziggurat("verify", str(write_gguf(tmp_path / "m.gguf", config, tensors_of(config))))  # it has no vocabulary
    assert run.returncode == 2 and "llama.cpp does not load" in run.stderr and run.stderr.count("\n") == 1


def test_a_peer_that_is_not_installed_is_one_line_with_the_command(tmp_path: Path) -> None:
    config = config_of("llama")
    path = write_gguf(tmp_path / "m.gguf", config, tensors_of(config))
    (tmp_path / "llama_cpp.py").write_text("raise ImportError('not here')\n")
    run = ziggurat("verify", str(path), "--against", "llama.cpp", PYTHONPATH=f"{SERVICE}{os.pathsep}{tmp_path}")
    assert run.returncode == 2 and "pip install llama-cpp-python" in run.stderr and run.stderr.count("\n") == 1


@pytest.mark.heavy
def test_a_language_model_agrees_with_transformers(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    config = config_of("llama")
    folder = write_folder(tmp_path / "m", config, tensors_of(config))
    run = ziggurat("verify", str(folder), "--against", "transformers", "--tokens", "40")
    assert run.returncode == 0, run.stderr
    assert "after 40 of 40" in run.stdout and "agrees  logits" in run.stdout
