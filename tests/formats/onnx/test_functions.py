"""Functions of the file are inlined with their attributes, names and opsets; recursion and explosion are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from tests.formats.onnx.models import model, read, value
from tests.formats.onnx.recorder import WITH_FUNCTION
from ziggurat.errors import InvalidModel, Unsupported, ZigguratError
from ziggurat.formats.onnx import importer

node = helper.make_node
X, Y = value("x"), value("y")
AI = helper.make_opsetid("", 28)
F = helper.make_opsetid("f", 1)
DATA = np.array([[-1, 2, -3], [4, -5, 6]], np.float32)


def reference(op: str, name: str, attribute: str) -> Any:
    """An Elu-like node whose attribute comes from the function's."""
    made = node(op, ["a"], ["b"], name)
    made.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name=attribute, type=onnx.AttributeProto.FLOAT))
    return made


LEAKY = helper.make_function("f", "Leaky", ["a"], ["b"], [reference("LeakyRelu", "n", "slope")], [AI], ["slope"])


def with_functions(nodes: list[Any], *functions: Any, opset: int = 28) -> Any:
    return model(nodes, [X], [Y], opsets=[("", opset), ("f", 1)], functions=list(functions))


def run(made: Any, **options: Any) -> Any:
    return ReferenceEvaluator(read(made, **options).graph).run(None, {"x": DATA})[0]


def leaky(slope: float) -> Any:
    return np.where(DATA < 0, DATA * np.float32(slope), DATA)


def test_attributes_come_from_the_call_or_stay_at_the_default_of_the_op() -> None:
    assert np.allclose(run(with_functions([node("Leaky", ["x"], ["y"], domain="f", slope=0.5)], LEAKY)), leaky(0.5))
    assert np.allclose(run(with_functions([node("Leaky", ["x"], ["y"], domain="f")], LEAKY)), leaky(0.01))


def test_attributes_may_have_defaults() -> None:
    function = helper.make_function("f", "Leaky", ["a"], ["b"], [reference("LeakyRelu", "n", "slope")], [AI])
    function.attribute_proto.append(helper.make_attribute("slope", 0.25))
    assert np.allclose(run(with_functions([node("Leaky", ["x"], ["y"], domain="f")], function)), leaky(0.25))


def test_functions_call_functions_and_each_copy_has_its_own_names() -> None:
    inner = node("Leaky", ["a"], ["b"], "inner", domain="f")
    inner.attribute.append(onnx.AttributeProto(name="slope", ref_attr_name="s", type=onnx.AttributeProto.FLOAT))
    again = node("Leaky", ["b"], ["c"], "again", domain="f", slope=2.0)
    outer = helper.make_function("f", "Outer", ["a"], ["c"], [inner, again], [AI, F], ["s"])
    made = with_functions([node("Outer", ["x"], ["y"], "call", domain="f", s=0.5)], outer, LEAKY)
    assert np.allclose(run(made), DATA)
    names = [found.name for found in read(made).graph.graph.node]
    assert names[:2] == ["call/inner/n", "call/again/n"]


def test_a_body_speaks_its_own_opset() -> None:
    """Softmax of opset 11 in the function, of opset 13 in the graph."""
    body = [node("Softmax", ["a"], ["b"], "s", axis=0)]
    function = helper.make_function("f", "Old", ["a"], ["b"], body, [helper.make_opsetid("", 11)])
    found = run(with_functions([node("Old", ["x"], ["y"], domain="f")], function))
    assert np.isclose(found.sum(), 1)


def test_overloads_are_told_apart() -> None:
    other = helper.make_function("f", "Leaky", ["a"], ["b"], [node("Neg", ["a"], ["b"])], [AI], overload="neg")
    call = node("Leaky", ["x"], ["y"], domain="f", overload="neg")
    assert np.allclose(run(with_functions([call], LEAKY, other)), -DATA)


def test_an_optional_input_that_is_left_out_stays_out() -> None:
    clip = helper.make_function("f", "Limit", ["a", "lo", "hi"], ["b"], [node("Clip", ["a", "lo", "hi"], ["b"])], [AI])
    zero = node("Constant", [], ["zero"], value_float=0.0)
    made = with_functions([zero, node("Limit", ["x", "", "zero"], ["y"], domain="f")], clip)
    assert np.allclose(run(made), np.minimum(DATA, 0))


def test_attributes_reach_into_subgraphs_of_the_body() -> None:
    branch = helper.make_graph([reference("LeakyRelu", "n", "slope")], "branch", [], [value("b")])
    body = [
        node("Constant", [], ["c"], value=helper.make_tensor("t", onnx.TensorProto.BOOL, [], [True])),
        node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
    ]
    function = helper.make_function("f", "Branching", ["a"], ["y"], body, [AI], ["slope"])
    made = with_functions([node("Branching", ["x"], ["y"], domain="f", slope=0.5)], function)
    (found, _) = read(made).graph.graph.node
    inner = found.attribute[0].g.node[0]
    assert (inner.op_type, inner.attribute[0].f) == ("LeakyRelu", 0.5)


def calls(name: str, target: str, times: int = 1) -> Any:
    nodes = [node(target, ["a"] if i == 0 else [f"v{i - 1}"], [f"v{i}"], domain="f") for i in range(times)]
    return helper.make_function("f", name, ["a"], [f"v{times - 1}"], nodes, [AI, F])


@pytest.mark.parametrize(
    ("functions", "call", "error", "message"),
    [
        ([calls("A", "B"), calls("B", "A")], node("A", ["x"], ["y"], domain="f"), InvalidModel, "call themselves: f"),
        ([LEAKY, LEAKY], node("Leaky", ["x"], ["y"], domain="f"), InvalidModel, "Leaky is defined twice"),
        ([LEAKY], node("Leaky", ["x"], ["y"], domain="f", tilt=1.0), InvalidModel, "has no attribute 'tilt'"),
        ([LEAKY], node("Leaky", ["x", "x"], ["y"], domain="f"), InvalidModel, "takes 1 inputs and gives 1 outputs"),
        ([LEAKY], node("Other", ["x"], ["y"], domain="f"), Unsupported, r"f.Other \(1 node\)"),
        (
            [calls("A", "Nonsense")],
            node("A", ["x"], ["y"], domain="f"),
            Unsupported,
            r"f.Nonsense \(1 node\)",
        ),
        (
            [calls(f"A{i}", f"A{i + 1}") for i in range(60)] + [calls("A60", "Leaky"), LEAKY],
            node("A0", ["x"], ["y"], domain="f"),
            InvalidModel,
            "nested deeper than 40",
        ),
        (
            [helper.make_function("f", "A", ["a"], ["b"], [node("Neg", ["z"], ["b"], "n")], [AI])],
            node("A", ["x"], ["y"], "call", domain="f"),
            InvalidModel,
            "Neg node 'n', tensor 'z'",
        ),
    ],
)
def test_what_functions_may_not_do(functions: list[Any], call: Any, error: type[ZigguratError], message: str) -> None:
    with pytest.raises(error, match=message):
        read(with_functions([call], *functions))


def test_a_small_file_cannot_describe_a_huge_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "MAX_NODES", 1000)
    chain = [calls(f"A{i}", f"A{i + 1}", times=10) for i in range(9)]
    functions = [*chain, calls("A9", "Leaky"), LEAKY]
    with pytest.raises(Unsupported, match="more than 1000 nodes"):
        read(with_functions([node("A0", ["x"], ["y"], domain="f")], *functions))


def test_standard_bodies_take_the_place_of_ops_without_a_descriptor() -> None:
    made = model([node("Gelu", ["x"], ["y"], "gelu")], [X], [Y])
    ops = {found.op_type for found in read(made, unknown=WITH_FUNCTION).graph.graph.node}
    assert "Gelu" not in ops
    assert "Erf" in ops
    assert np.allclose(run(made, unknown=WITH_FUNCTION), run(made), atol=1e-6)


def test_a_standard_body_that_needs_types_says_so() -> None:
    sequence = helper.make_tensor_sequence_value_info("s", 1, None)
    made = model([node("CastLike", ["x", "s"], ["y"], "g")], [X, sequence], [Y])
    with pytest.raises(Unsupported, match="CastLike node 'g': has no kernel, and its standard definition needs"):
        read(made, unknown=WITH_FUNCTION)
