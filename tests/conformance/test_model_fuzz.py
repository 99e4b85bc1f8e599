"""Models changed at random are run or refused in so many words; the process and its memory are unharmed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 900


def fuzz(seed: int, count: int, culprit: Path) -> str:
    command = [sys.executable, "-m", "tests.conformance.model_fuzz", str(seed), str(count), str(culprit)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'service'}:{ROOT}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"seed {seed}, exit {done.returncode}, model {culprit}: {done.stderr[-2000:]}"
    return done.stdout


def test_changed_models_are_run_or_refused(tmp_path: Path, figure: Callable[[str], None]) -> None:
    figure(f"changed models: {fuzz(1, 2000, tmp_path / 'culprit.onnx')}")


@pytest.mark.heavy
def test_many_changed_models_are_run_or_refused(tmp_path: Path, figure: Callable[[str], None]) -> None:
    seed = int.from_bytes(os.urandom(3))
    figure(f"changed models, seed {seed}: {fuzz(seed, 60_000, tmp_path / 'culprit.onnx')}")
