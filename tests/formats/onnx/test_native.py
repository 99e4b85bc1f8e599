"""The reader with the engine's own graph builder, and old opsets all the way to numbers."""

from __future__ import annotations

import contextlib
import importlib
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.formats.onnx.models import weights_model
from tests.formats.onnx.test_adapters import CASES, Case, old
from tests.formats.onnx.test_standard import CONVERTED, LIGHT, loaded, make_node_cases, same
from ziggurat.errors import InvalidModel, Unsupported, ZigguratError
from ziggurat.formats.onnx import read_onnx

EXTREMES = [0, 1, -1, 2, 7, 2**31, 2**62, -(2**63)]


@pytest.fixture(scope="module")
def new_builder() -> Any:
    try:
        return importlib.import_module("ziggurat._native").GraphBuilder
    except ModuleNotFoundError:
        pytest.skip("the native module is not built")


@pytest.fixture(scope="module")
def node_cases() -> list[Any]:
    return make_node_cases()


@pytest.mark.parametrize("axis", [-(2**31), -(2**63), -4, 3, 2**62])
def test_an_axis_to_lay_another_under_must_be_one(axis: int, new_builder: Any) -> None:
    model = Case("Add", 6, [np.ones((2, 3), "f"), np.ones(3, "f")], {"broadcast": 1, "axis": axis}).model()
    with pytest.raises(InvalidModel, match="cannot lay 1 axes under 2"):
        read_onnx(model.SerializeToString(), new_builder)


def test_groups_beyond_all_channels_are_refused(new_builder: Any) -> None:
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], group=2**63 - 1)
    graph = onnx.helper.make_graph(
        [node], "g", [value("x", 1, [2, 4, 6]), value("w", 1, [6, 2, 3])], [value("y", 1, None)]
    )
    with pytest.raises(InvalidModel, match="group is 9223372036854775807"):
        read_onnx(onnx.helper.make_model(graph).SerializeToString(), new_builder)


def test_an_error_quotes_bytes_that_are_no_text(new_builder: Any) -> None:
    node = onnx.helper.make_node("ArgMax", ["x"], ["y"], keepdims=b"\xfc\x83u")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph([node], "g", [value("x", 1, [2])], [value("y", 7, None)])
    with pytest.raises(ZigguratError):
        read_onnx(onnx.helper.make_model(graph).SerializeToString(), new_builder)
    reduction = onnx.helper.make_node("NegativeLogLikelihoodLoss", ["x", "t"], ["y"], reduction=b"\xfc\x83u")
    inputs = [value("x", 1, [3, 5]), value("t", 7, [3])]
    graph = onnx.helper.make_graph([reduction], "g", inputs, [value("y", 1, None)])
    with pytest.raises(ZigguratError, match="\ufffd"):
        read_onnx(onnx.helper.make_model(graph).SerializeToString(), new_builder)


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_a_light_model_becomes_a_native_graph(path: Path, new_builder: Any) -> None:
    imported = read_onnx(path, new_builder)
    assert imported.warnings == []
    # old Dropout and Softmax become several nodes each; no node gets lost
    assert imported.graph.node_count() >= len(onnx.load(path).graph.node)


def test_no_valid_node_case_is_called_invalid(new_builder: Any, node_cases: list[Any]) -> None:
    """Every case is read, or needs an op that the engine does not have yet."""
    counts: Counter[str] = Counter()
    for case in node_cases:
        try:
            read_onnx(case.model.SerializeToString(), new_builder, check=False)
            counts["read"] += 1
        except Unsupported:
            counts["unsupported"] += 1
    print(f"\nnode cases: {dict(counts)}")
    assert counts["read"] > 1500


def test_contradictory_models_are_refused_with_a_typed_error(
    new_builder: Any, node_cases: list[Any], seed: int
) -> None:
    """Shapes, types, attributes and inputs of valid models, changed at random."""
    draw = random.Random(seed)
    for _ in range(1500):
        made = onnx.ModelProto()
        made.CopyFrom(draw.choice(node_cases).model)
        for _ in range(draw.randint(1, 4)):
            disturb(made.graph, draw)
        with contextlib.suppress(ZigguratError):
            read_onnx(made.SerializeToString(), new_builder, check=False)


def disturb(graph: Any, draw: random.Random) -> None:
    types = [value.type.tensor_type for value in graph.input if value.type.HasField("tensor_type")]
    if types and draw.random() < 0.4:
        chosen = draw.choice(types)
        if not chosen.shape.dim or draw.random() < 0.2:
            chosen.shape.dim.add().dim_value = draw.choice(EXTREMES)
        elif draw.random() < 0.2:
            chosen.elem_type = draw.randint(1, 28)
        else:
            draw.choice(chosen.shape.dim).dim_value = draw.choice(EXTREMES)
    elif graph.node:
        disturb_node(draw.choice(graph.node), draw)


def disturb_node(node: Any, draw: random.Random) -> None:
    if node.attribute and draw.random() < 0.7:
        attribute = draw.choice(node.attribute)
        if attribute.type == onnx.AttributeProto.INT:
            attribute.i = draw.choice(EXTREMES)
        elif attribute.type == onnx.AttributeProto.INTS:
            attribute.ints.insert(draw.randint(0, len(attribute.ints)), draw.choice(EXTREMES))
        elif attribute.type == onnx.AttributeProto.STRING:
            attribute.s = draw.choice([b"", b"x", b"SAME_UPPER", b"reflect"])
    elif node.input:
        place = draw.randrange(len(node.input))
        node.input[place] = draw.choice(["", *node.input])


def compute(data: bytes | Path, feeds: dict[str, Any]) -> list[Any]:
    """The outputs by the engine; skips where it cannot compute yet."""
    ziggurat = importlib.import_module("ziggurat")
    if not hasattr(ziggurat, "load"):
        pytest.skip("the native module is not built")
    model = ziggurat.load(data)
    found = model.run(feeds)
    model.close()
    return [found[spec.name] for spec in model.outputs]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_an_old_form_computes_what_it_did(case: Case, new_builder: Any) -> None:
    data = case.model().SerializeToString()
    try:
        read_onnx(data, new_builder, check=False)
    except Unsupported as error:
        pytest.xfail(str(error))
    for expected, actual in zip(old(case), compute(data, case.feeds()), strict=True):
        assert actual.dtype == expected.dtype
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("path", CONVERTED, ids=lambda path: path.name)
def test_a_converted_model_computes_what_it_did(path: Path, new_builder: Any) -> None:
    data = (path / "model.onnx").read_bytes()
    names = [value.name for value in onnx.load_from_string(data).graph.input]
    initializers = {tensor.name for tensor in onnx.load_from_string(data).graph.initializer}
    fed = [name for name in names if name not in initializers]
    feeds = {name: loaded(path / "test_data_set_0" / f"input_{i}.pb") for i, name in enumerate(fed)}
    for i, found in enumerate(compute(data, feeds)):
        assert same(found, loaded(path / "test_data_set_0" / f"output_{i}.pb"))


def test_weights_come_from_the_file_and_from_external_data(tmp_path: Path, new_builder: Any) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    made = weights_model(1000)
    weight = onnx.numpy_helper.to_array(made.graph.initializer[0])
    inside = tmp_path / "inside.onnx"
    inside.write_bytes(made.SerializeToString())
    outside = tmp_path / "outside.onnx"
    onnx.save_model(made, outside, save_as_external_data=True, location="w.bin", size_threshold=0)
    for path in (inside, outside):
        (found,) = compute(path, {"x": x})
        np.testing.assert_allclose(found, x @ weight + 1, rtol=1e-5)


def test_weights_that_are_gone_when_they_are_wanted_are_an_error(tmp_path: Path, new_builder: Any) -> None:
    ziggurat = importlib.import_module("ziggurat")
    path = tmp_path / "m.onnx"
    path.write_bytes(weights_model(1000).SerializeToString())

    class Late(new_builder):  # type: ignore[misc]
        """Between reading the skeleton and packing the weights, somebody truncates the file."""

        def finish(self) -> Any:
            path.write_bytes(path.read_bytes()[:2000])
            return super().finish()

    imported = read_onnx(path, Late)
    with pytest.raises(InvalidModel, match=r"m\.onnx"):
        ziggurat.engine.Model(ziggurat.engine.default_engine(), imported.graph)


def test_a_refusal_of_the_builder_names_node_and_tensor(new_builder: Any) -> None:
    made = CASES[0].model()
    made.graph.input[0].type.tensor_type.shape.ClearField("dim")
    with pytest.raises(InvalidModel) as caught:
        read_onnx(made.SerializeToString(), new_builder)
    assert caught.value.node == "node"
    assert caught.value.op == CASES[0].op
