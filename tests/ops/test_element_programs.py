"""Element-wise nodes computed together: the bits of the nodes alone in whole models; plan, profile and check."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import ziggurat
from ziggurat.engine import usable_isas

WIDTH = 96


def node(op: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], **attributes)


def gated_model() -> bytes:
    """x [n, t, WIDTH] gated, masked and scaled; a value in the middle feeds a norm and is an output too."""
    weights = {
        "scale": np.linspace(-1, 1, WIDTH, dtype=np.float32),
        "half": np.float32(0.5),
        "low": np.float32(-0.75),
        "axes": np.array([-1]),
    }
    nodes = [
        node("Sin", ["x"], "a"),
        node("Mul", ["a", "scale"], "b"),
        node("Sub", ["b", "rows"], "c"),
        node("Less", ["c", "half"], "d"),
        node("Where", ["d", "c", "x"], "e"),
        node("Clip", ["e", "low"], "f"),
        node("ReduceMax", ["f", "axes"], "m"),
        node("Softsign", ["f"], "g"),
        node("Sub", ["g", "m"], "h"),
        node("Exp", ["h"], "y"),
    ]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]

    def info(name: str, last: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", "t", last])

    graph = helper.make_graph(
        nodes, "gated", [info("x", WIDTH), info("rows", 1)], [info("y", WIDTH), info("f", WIDTH)], initializers
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(made.SerializeToString())


def feeds(n: int, t: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n * 100 + t)
    x = rng.standard_normal((n, t, WIDTH)).astype(np.float32) * 3
    x.reshape(-1)[:3] = [np.nan, np.inf, -np.inf][: min(x.size, 3)]
    return {"x": x, "rows": rng.standard_normal((n, t, 1)).astype(np.float32)}


@pytest.mark.parametrize("isa", usable_isas())
@pytest.mark.parametrize("threads", [1, 2])
def test_a_model_keeps_its_bits_for_every_shape(isa: str, threads: int) -> None:
    engine = ziggurat.Engine(threads=threads, isa=isa)
    with (
        ziggurat.load(gated_model(), engine=engine) as fused,
        ziggurat.load(gated_model(), engine=engine, optimize=False) as plain,
    ):
        for shape in ((1, 1), (2, 3), (0, 5), (3, 1), (7, 129)):
            given = feeds(*shape)
            got, want = fused.run(given), plain.run(given)
            for name, array in want.items():
                assert got[name].shape == array.shape
                numbers = ~np.isnan(array)
                assert np.array_equal(np.isnan(got[name]), ~numbers)
                assert np.array_equal(got[name][numbers].view(np.uint32), array[numbers].view(np.uint32)), name


def test_plan_profile_and_check_show_a_program() -> None:
    with ziggurat.load(gated_model(), keep_constants=True) as model:
        plan = model.plan()
        assert [record["rewrites"] for record in plan.passes if record["name"] == "fuse_elementwise"] == [2]
        assert "elementwise.Sin+Mul+Sub+Less+Where+Clip" in plan.text
        assert plan.steps == 3
        given = {name: np.nan_to_num(array) for name, array in feeds(2, 5).items()}
        first, _, last = model.profile(given)
        elements = given["x"].size
        assert (first["op"], first["flops"], last["flops"]) == ("Elementwise", 7 * elements, 2 * elements)
        assert first["bytes"] == 4 * (3 * elements + 10 + WIDTH + 2)  # x and two results; rows, scale, scalars
        checks = model.check(given)
        assert all(not check["problem"] and check["distance"] < 1e-5 for check in checks), checks


def test_the_pass_can_be_switched_off_by_name() -> None:
    with ziggurat.load(gated_model(), disabled_passes=["fuse_elementwise"]) as model:
        assert "Elementwise" not in model.plan().text
