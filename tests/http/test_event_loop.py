"""What keeps the event loop free: long bodies come and go in pieces, and leave nothing to the garbage collector."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.http.support import Raw, Running, serving


def write_negative(folder: Path) -> None:
    inputs, outputs = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"])] for name in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "negative", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "negative.onnx")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("models")
    write_negative(folder)
    with serving(folder) as server:
        yield server


@pytest.mark.parametrize("count", [1, 16_383, 16_384, 70_001, 1_500_000])
@pytest.mark.parametrize("binary", [True, False])
def test_bodies_of_every_length_come_and_go_whole(running: Running, count: int, binary: bool) -> None:
    array = np.random.default_rng().standard_normal(count, np.float32)
    item: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [count]}
    with Raw(running.port) as connection:
        if binary:
            item["parameters"] = {"binary_data_size": 4 * count}
            head = {"inputs": [item], "parameters": {"binary_data_output": True}}
            reply = connection.infer("negative", head, array.tobytes())
            assert reply.status == 200, reply.body[:300]
            body = reply.body[int(reply.headers["inference-header-content-length"]) :]
            np.testing.assert_array_equal(np.frombuffer(body, np.float32), -array)
        else:
            reply = connection.infer("negative", {"inputs": [{**item, "data": array.tolist()}]})
            assert reply.status == 200, reply.body[:300]
            (output,) = json.loads(reply.body)["outputs"]
            np.testing.assert_array_equal(np.array(output["data"], np.float32), -array)


def test_a_request_leaves_nothing_for_the_garbage_collector(running: Running) -> None:
    array = np.ones(300_000, np.float32)
    item = {"name": "x", "datatype": "FP32", "shape": [300_000], "parameters": {"binary_data_size": array.nbytes}}
    with Raw(running.port) as connection:
        connection.infer("negative", {"inputs": [item]}, array.tobytes())
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(3):
                assert connection.infer("negative", {"inputs": [item]}, array.tobytes()).status == 200
            gc.collect()
            left = [type(one).__name__ for one in gc.garbage]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert not {"Task", "coroutine", "Presence", "V2Work", "RequestResponseCycle"}.intersection(left), left
