"""Models changed at random are run or refused in so many words; the process and its memory are unharmed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import ziggurat
from ziggurat.errors import InvalidArgument, InvalidModel

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


def int64_op(op: str, inputs: dict[str, list[int] | None], **attributes: object) -> bytes:
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, shape) for name, shape in inputs.items()]
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT64, None)
    node = onnx.helper.make_node(op, list(inputs), ["y"], **attributes)
    graph = onnx.helper.make_graph([node], "g", values, [result])
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


@pytest.mark.parametrize(
    ("start", "limit", "says"),
    [([0, 1], 5, "one element each"), (0, 2**61, "more than 2\\^63 bytes"), (0, -(2**63), "exceeds 2\\^63")],
)
def test_a_range_that_cannot_be_is_refused_at_run(start: int | list[int], limit: int, says: str) -> None:
    with ziggurat.load(int64_op("Range", {"start": None, "limit": [], "delta": []})) as model:
        with pytest.raises(InvalidArgument, match=says):
            model.run({"start": np.array(start), "limit": np.array(limit), "delta": np.array(1)})
        assert model.run({"start": np.array(0), "limit": np.array(5), "delta": np.array(1)})["y"].shape == (5,)


def test_a_tensor_of_more_bytes_than_there_are_addresses_is_refused() -> None:
    value = onnx.helper.make_tensor("v", onnx.TensorProto.INT64, [1], [7])
    with (
        ziggurat.load(int64_op("ConstantOfShape", {"shape": [1]}, value=value)) as model,
        pytest.raises(InvalidArgument, match="more than 2\\^63 bytes"),
    ):
        model.run({"shape": np.array([2**61])})


def test_a_loop_goes_on_by_a_boolean_tensor_alone() -> None:
    make, sequence = onnx.helper.make_tensor_value_info, onnx.helper.make_tensor_sequence_value_info("s", 1, None)
    turn = [make("i", onnx.TensorProto.INT64, []), make("c", onnx.TensorProto.BOOL, [])]
    body = onnx.helper.make_graph([], "body", turn, [make("s", onnx.TensorProto.BOOL, [])])
    body.output.append(make("i", onnx.TensorProto.INT64, []))
    loop = onnx.helper.make_node("Loop", ["n", "go"], ["y"], body=body)
    inputs = [make("n", onnx.TensorProto.INT64, []), make("go", onnx.TensorProto.BOOL, []), sequence]
    graph = onnx.helper.make_graph([loop], "g", inputs, [make("y", onnx.TensorProto.INT64, None)])
    with pytest.raises(InvalidModel, match="condition is not a boolean tensor"):
        ziggurat.load(onnx.helper.make_model(graph, ir_version=8).SerializeToString())


@pytest.mark.parametrize(("take", "inputs"), [("SequenceAt", ["boxed", "zero"]), ("OptionalGetElement", ["boxed"])])
def test_an_element_of_another_shape_than_declared_is_refused(take: str, inputs: list[str]) -> None:
    helper = onnx.helper
    boxed = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [2])
    is_sequence = take == "SequenceAt"
    boxed = helper.make_sequence_type_proto(boxed) if is_sequence else helper.make_optional_type_proto(boxed)
    graph = helper.make_graph(
        [helper.make_node(take, inputs, ["y"])],
        "g",
        [helper.make_value_info("boxed", boxed)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [helper.make_tensor("zero", onnx.TensorProto.INT64, [], [0])],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()

    def run(x: np.ndarray) -> dict[str, np.ndarray]:
        return model.run({"boxed": [x] if is_sequence else x})

    with ziggurat.load(content) as model:
        assert run(np.ones(2, np.float32))["y"].shape == (2,)
        with pytest.raises(InvalidArgument, match="element of shape \\[3\\] where \\[2\\] is expected"):
            run(np.ones(3, np.float32))
