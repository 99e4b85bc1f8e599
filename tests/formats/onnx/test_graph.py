"""What makes a graph: names, order, types, versions; and how each contradiction is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.formats.onnx.models import FLOAT, model, read, value
from tests.formats.onnx.recorder import Recorder
from ziggurat.errors import InvalidModel, Unsupported, ZigguratError
from ziggurat.formats.onnx import read_onnx

node = helper.make_node
X, Y = value("x"), value("y")
RELU = node("Relu", ["x"], ["y"], "r")


def run(proto: Any, *inputs: Any) -> list[Any]:
    """Reads, records, and evaluates what was recorded."""
    recorded = read(proto).graph
    feeds = dict(zip([given.name for given in recorded.graph.input], inputs, strict=True))
    return list(ReferenceEvaluator(recorded).run(None, feeds))


def test_dimensions_keep_their_names() -> None:
    made = model([RELU], [value("x", shape=["batch", 3, None, -1])], [value("y", shape=None)])
    (given,) = read(made).graph.graph.input
    dims = [dim.dim_param or dim.dim_value or None for dim in given.type.tensor_type.shape.dim]
    assert dims == ["batch", 3, None, None]
    unranked = read(model([RELU], [value("x", shape=None)], [Y])).graph.graph.input[0]
    assert not unranked.type.tensor_type.HasField("shape")


def test_initializers_listed_as_inputs_are_constants() -> None:
    weight = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    made = model([node("Add", ["x", "w"], ["y"])], [X, value("w")], [Y], [weight], ir_version=3, opset=7)
    assert [given.name for given in read(made).graph.graph.input] == ["x"]


def test_nodes_out_of_order_are_sorted() -> None:
    nodes = [
        node("Add", ["b", "a"], ["y"], "last"),
        node("Neg", ["a"], ["b"], "second"),
        node("Relu", ["x"], ["a"], "first"),
    ]
    order = [made.name for made in read(model(nodes, [X], [Y])).graph.graph.node]
    assert order[:3] == ["first", "second", "last"]


def test_what_a_subgraph_captures_counts_for_the_order() -> None:
    branch = helper.make_graph([node("Neg", ["late"], ["b"])], "branch", [], [value("b")])
    nodes = [
        node("If", ["c"], ["y"], "if", then_branch=branch, else_branch=branch),
        node("Relu", ["x"], ["late"], "producer"),
    ]
    made = model(nodes, [X, value("c", onnx.TensorProto.BOOL, [])], [Y])
    assert [found.op_type for found in read(made).graph.graph.node] == ["Relu", "If", "Identity"]
    x = np.array([[-1, 2, 3], [4, 5, 6]], np.float32)
    assert (run(made, x, np.array(True))[0] == -np.maximum(x, 0)).all()


def test_an_outer_value_may_be_a_branch_output() -> None:
    branch = helper.make_graph([], "branch", [], [value("x")])
    other = helper.make_graph([node("Neg", ["x"], ["n"])], "other", [], [value("n")])
    made = model(
        [node("If", ["c"], ["y"], "if", then_branch=branch, else_branch=other)],
        [X, value("c", onnx.TensorProto.BOOL, [])],
        [Y],
    )
    x = np.ones((2, 3), np.float32)
    assert (run(made, x, np.array(True))[0] == x).all()
    assert (run(made, x, np.array(False))[0] == -x).all()


def test_a_loop_body_without_types_gets_those_of_its_node() -> None:
    body = helper.make_graph(
        [node("Add", ["v", "x"], ["w"]), node("Identity", ["go"], ["on"])],
        "body",
        [onnx.ValueInfoProto(name=name) for name in ("i", "go", "v")],
        [onnx.ValueInfoProto(name=name) for name in ("on", "w")],
    )
    made = model(
        [node("Loop", ["n", "", "x"], ["y"], "loop", body=body)],
        [value("n", onnx.TensorProto.INT64, []), X],
        [Y],
    )
    (loop, _) = read(made).graph.graph.node
    types = [given.type.tensor_type.elem_type for given in loop.attribute[0].g.input]
    assert types == [onnx.TensorProto.INT64, onnx.TensorProto.BOOL, FLOAT]


def test_sequences_and_optionals_keep_their_types() -> None:
    sequence = helper.make_tensor_sequence_value_info("s", FLOAT, ["n"])
    made = model([node("SequenceLength", ["s"], ["y"])], [sequence], [value("y", onnx.TensorProto.INT64, [])])
    assert read(made).graph.graph.input[0].type == sequence.type
    optional = helper.make_value_info("o", helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, [2])))
    made = model([node("OptionalHasElement", ["o"], ["y"])], [optional], [value("y", onnx.TensorProto.BOOL, [])])
    assert read(made).graph.graph.input[0].type == optional.type


def test_an_outputless_name_may_be_an_input_or_a_constant() -> None:
    weight = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    made = model([], [X], [X, value("w")], [weight])
    x = np.full((2, 3), 7, np.float32)
    assert [found.max() for found in run(made, x)] == [7, 1]


def constant(**attributes: Any) -> Any:
    return model([node("Constant", [], ["y"], "c", **attributes)], [], [value("y", shape=None)])


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"value": numpy_helper.from_array(np.array([1, 2], np.int8))}, np.array([1, 2], np.int8)),
        ({"value_int": 3}, np.array(3, np.int64)),
        ({"value_ints": [3, 4]}, np.array([3, 4], np.int64)),
        ({"value_float": 0.5}, np.array(0.5, np.float32)),
        ({"value_floats": [0.5, 1.5]}, np.array([0.5, 1.5], np.float32)),
    ],
)
def test_constants_in_every_form(attributes: dict[str, Any], expected: Any) -> None:
    (found,) = read(constant(**attributes)).graph.graph.initializer
    array = numpy_helper.to_array(found)
    assert array.dtype == expected.dtype
    assert (array == expected).all()


def test_constants_of_strings_and_empty_lists() -> None:
    (found,) = read(constant(value_string="a")).graph.graph.initializer
    assert (list(found.dims), list(found.string_data)) == ([], [b"a"])
    (found,) = read(constant(value_strings=["a", "b"])).graph.graph.initializer
    assert (list(found.dims), list(found.string_data)) == ([2], [b"a", b"b"])
    made = model([node("Constant", [], ["y"], "c")], [], [value("y", shape=None)])
    made.graph.node[0].attribute.append(helper.make_attribute("value_ints", [], attr_type=onnx.AttributeProto.INTS))
    (found,) = read(made).graph.graph.initializer
    assert list(found.dims) == [0]


CYCLE = [node("Add", ["x", "c"], ["a"], "one"), node("Neg", ["a"], ["b"], "two"), node("Neg", ["b"], ["c"], "three")]
RELU6 = node("Relu", ["x"], ["y"], "r", alpha=1.0)
TWICE = node("Relu", ["x"], ["y"], "r")
TWICE.attribute.extend([helper.make_attribute("a", 1)] * 2)
REFERS = node("Elu", ["x"], ["y"], "r")
REFERS.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="alpha", type=onnx.AttributeProto.FLOAT))
SPARSE = helper.make_value_info("x", helper.make_sparse_tensor_type_proto(FLOAT, [2]))


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        (model([node("Relu", ["z"], ["y"], "r")], [X], [Y]), InvalidModel, "node 'r', tensor 'z': nothing produces"),
        (model([RELU, RELU], [X], [Y]), InvalidModel, "tensor 'y': two nodes produce this tensor"),
        (model([node("Relu", ["x"], ["x"], "r")], [X], [X]), InvalidModel, "tensor 'x': a node produces what is also"),
        (model([RELU], [X, X], [Y]), InvalidModel, "tensor 'x': the name is defined twice"),
        (model([RELU], [X], [Y, Y]), InvalidModel, "tensor 'y': the graph has two outputs of this name"),
        (model([RELU], [X], [value("z")]), InvalidModel, "tensor 'z': nothing produces this graph output"),
        (model([RELU], [SPARSE], [Y]), Unsupported, "tensor 'x': values of sparse tensor type are not supported"),
        (model([RELU], [onnx.ValueInfoProto(name="x")], [Y]), InvalidModel, "'x': the graph input has no element type"),
        (model([RELU], [value("x", 77)], [Y]), InvalidModel, "tensor 'x': element type 77 does not exist"),
        (
            model(CYCLE, [X], [value("c")]),
            InvalidModel,
            "Add node 'one': the graph has a cycle: 'one' -> 'two' -> 'three' -> 'one'",
        ),
        (model([RELU6], [X], [Y]), InvalidModel, "unknown attribute 'alpha'; Relu of opset 14 has: none"),
        (
            model([node("Elu", ["x"], ["y"], "e", alpha=1)], [X], [Y]),
            InvalidModel,
            "Elu node 'e': attribute 'alpha' has type INT, expected FLOAT",
        ),
        (
            model([node("Concat", ["x"], ["y"], "c")], [X], [Y]),
            InvalidModel,
            r"Concat node 'c': required attribute 'axis' \(INT\) is missing",
        ),
        (model([TWICE], [X], [Y]), InvalidModel, "attribute 'a' is given twice"),
        (model([REFERS], [X], [Y]), InvalidModel, "attribute 'alpha' refers to a function's attribute 'alpha'"),
        (model([node("Relu", ["x", "x"], ["y"], "r")], [X], [Y]), InvalidModel, "has 2 inputs, expected 1"),
        (model([node("Add", ["x"], ["y"], "r")], [X], [Y]), InvalidModel, "has 1 inputs, expected 2"),
        (model([node("Relu", ["x"], ["y", "z"], "r")], [X], [Y]), InvalidModel, "has 2 outputs, expected 1"),
        (model([node("Max", ["", "x"], ["y"], "r")], [X], [Y]), InvalidModel, "leaves out one of a list of inputs"),
        (model([node("Max", [], ["y"], "r")], [X], [Y]), InvalidModel, "has 0 inputs, expected 1 or more"),
        (model([RELU], [X], [Y], opset=29), Unsupported, "opset 29 of ai.onnx, the newest supported one is 28"),
        (model([RELU], [X], [Y], opset=0), InvalidModel, "opset 0"),
        (
            model([node("Add", ["x", "x"], ["y"], "s")], [X], [Y], opset=5),
            Unsupported,
            r"Add \(in the form of opset 5, older than 6; see onnx.version_converter\) \(1 node\)",
        ),
        (model([RELU], [X], [Y], ir_version=99), Unsupported, "IR version 99, the newest supported one is 14"),
        (model([RELU], [X], [Y], ir_version=0), InvalidModel, "no IR version"),
        (model([RELU], [X], [Y], opsets=[("com.example", 1)]), InvalidModel, "imports no version of ai.onnx"),
        (model([RELU], [X], [Y], opsets=[("", 13), ("ai.onnx", 14)]), InvalidModel, "imported as 13 and as 14"),
        (model([node("Upsample", ["x", "x"], ["y"])], [X], [Y]), InvalidModel, "removed in opset 10, use Resize"),
        (model([node("Gelu", ["x"], ["y"])], [X], [Y], opset=19), Unsupported, r"Gelu \(not in opset 19 of ai.onnx\)"),
        (model([node("Constant", [], ["y"], "c")], [], [Y]), InvalidModel, "has 0 values and 1 outputs"),
    ],
)
def test_contradictions_are_named(made: Any, error: type[ZigguratError], message: str) -> None:
    with pytest.raises(error, match=message):
        read(made)


def test_all_unknown_operators_are_listed_with_their_counts() -> None:
    branch = helper.make_graph([node("Fancy", ["x"], ["b"], domain="com.microsoft")], "branch", [], [value("b")])
    nodes = [
        node("Fancy", ["x"], ["a"], "f", domain="com.microsoft"),
        node("Nonsense", ["a"], ["b"]),
        node("Scaler", ["b"], ["d"], domain="ai.onnx.ml"),
        node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
    ]
    made = model(nodes, [X, value("c", onnx.TensorProto.BOOL, [])], [Y])
    with pytest.raises(Unsupported) as caught:
        read(made)
    assert "3 operators are not supported: com.microsoft.Fancy (3 nodes), " in str(caught.value)
    assert "Nonsense (1 node)" in str(caught.value)
    assert "ai.onnx.ml.Scaler (1 node)" in str(caught.value)
    assert (caught.value.node, caught.value.op) == ("f", "Fancy")


def test_ops_that_never_changed_are_read_from_opsets_before_6() -> None:
    read(model([node("Not", ["c"], ["d"])], [value("c", onnx.TensorProto.BOOL)], [], opset=1))


def test_names_that_are_not_utf8_are_refused() -> None:
    data = model([RELU], [X], [Y]).SerializeToString().replace(b"Relu", b"R\xffl\xfe")
    with pytest.raises(InvalidModel, match="a name is not UTF-8"):
        read(data)


def test_what_the_checker_finds_is_a_warning(tmp_path: Path) -> None:
    made = model([RELU], [X], [Y])
    made.graph.node[0].name = ""
    made.graph.name = ""  # the checker wants a name, no engine does
    path = tmp_path / "m.onnx"
    path.write_bytes(made.SerializeToString())
    imported = read_onnx(path, Recorder)
    assert len(imported.warnings) == 1
    assert imported.warnings[0].startswith("onnx.checker: ")
    assert read_onnx(path, Recorder, check=False).warnings == []
