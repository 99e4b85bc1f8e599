"""The onnx package's backend suite: what passed must go on passing, and the count is printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.conformance import node_suite
from tests.conformance.node_cases import Case, same

ROOT = Path(__file__).parents[2]
SECONDS = 600


def test_a_case_that_passed_passes_still(tmp_path: Path, figure: Callable[[str], None]) -> None:
    # in a process of its own: the cases run in its forks, which must not inherit this one's threads
    report = tmp_path / "outcomes.json"
    command = [sys.executable, "-m", "tests.conformance.node_suite", "--json", str(report)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'service'}:{ROOT}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = {row["name"]: row for row in json.loads(report.read_text(encoding="utf-8"))}
    passing = {name for name, row in outcomes.items() if row["status"] == "pass"}
    figure(f"node suite: {len(passing)} of {len(outcomes)} cases pass\n{done.stdout}")
    if new := passing - node_suite.baseline():
        figure(f"node suite: {len(new)} pass that are not in {node_suite.BASELINE.name}; add them with --write")
    lost = [
        f"{name}: {outcomes[name]['detail']}" for name in sorted(node_suite.baseline() - passing) if name in outcomes
    ]
    assert lost == []
    assert [name for name, row in outcomes.items() if row["status"] in ("crash", "hang")] == []


def made_case(name: str = "test_relu") -> Case:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
    )
    x = np.array([-1, 0, 2], np.float32)
    source = SimpleNamespace(model=helper.make_model(graph), data_sets=[([x], [np.maximum(x, 0)])], model_dir=None)
    return Case(name, "made", 1e-3, 1e-7, source)


def test_right_wrong_unsupported_and_broken_are_told_apart() -> None:
    def unsupported(_: bytes) -> node_suite.Run:
        error = RuntimeError("no kernel")
        error.code = "unsupported"  # type: ignore[attr-defined]
        raise error

    engines = {
        "pass": lambda _: lambda feeds: [np.maximum(feeds["x"], 0)],
        "wrong": lambda _: lambda feeds: [feeds["x"]],
        "unsupported": unsupported,
        "error": lambda _: lambda feeds: [feeds["no such input"]],
    }
    for status, load in engines.items():
        assert node_suite.judge(made_case(), load).status == status


def test_a_crash_and_a_hang_cost_one_case_each(monkeypatch: pytest.MonkeyPatch) -> None:
    script = """
import os, time
from tests.conformance import node_suite
from tests.conformance.test_node_suite import made_case

def judge(case, load):
    if case.name == "crashes":
        os._exit(7)
    if case.name == "hangs":
        time.sleep(60)
    return node_suite.Outcome(case.name, case.category, "pass")

node_suite.judge, node_suite.CASE_SECONDS = judge, 1
for outcome in node_suite.run_chunk([made_case(name) for name in ("a", "crashes", "b", "hangs", "c")], "ziggurat"):
    print(outcome.name, outcome.status)
"""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'service'}:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.split("\n")[:-1] == ["a pass", "crashes crash", "b pass", "hangs hang", "c pass"], done.stderr


@pytest.mark.parametrize(
    ("expected", "actual", "words"),
    [
        (np.float32([1, 2]), np.float32([1, 2]), ""),
        (np.float32([np.nan, 2]), np.float32([np.nan, 2]), ""),
        (np.float32([1, 2]), np.float64([1, 2]), "dtype float64, expected float32"),
        (np.float32([1, 2]), np.float32([[1, 2]]), "shape (1, 2), expected (2,)"),
        (np.float32([1, 2]), np.float32([1, 2.1]), "1 of 2 elements differ, the worst: 2.0999999046325684 for 2.0"),
        (np.ones(2, ml_dtypes.bfloat16), np.full(2, 1 + 2**-7, ml_dtypes.bfloat16), ""),
        (np.ones(1, ml_dtypes.int4), np.zeros(1, ml_dtypes.int4), "1 of 1 elements differ, the worst: 0.0 for 1.0"),
        (np.array(["a"], object), np.array(["b"], object), "strings differ"),
        ([np.float32([1])], [], "expected a list of 1, got list"),
        (None, np.float32([1]), "expected None, got [1.]"),
    ],
)
def test_outputs_are_compared_by_type_shape_and_value(expected: object, actual: object, words: str) -> None:
    assert same(expected, actual, 1e-3, 1e-7) == words
