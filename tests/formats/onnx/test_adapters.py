"""Old forms of ops compute the same after reading: the old model by ONNX Runtime, the new one by onnx.reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.formats.onnx.models import model, read, value
from ziggurat.errors import InvalidModel, Unsupported
from ziggurat.formats.onnx.adapters import ADAPTERS
from ziggurat.formats.onnx.adapters.compatible import NEW_OPTION, SAME_FORM
from ziggurat.formats.onnx.schemas import NEWEST, OLDEST, RENAMED

RNG = np.random.default_rng(7)
X4 = RNG.standard_normal((2, 4, 6, 5)).astype(np.float32)
X3 = RNG.standard_normal((2, 3, 4)).astype(np.float32)
POSITIVE = np.abs(X3[0, :, 0])
IMAGE = np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)


@dataclass
class Case:
    op: str
    opset: int
    inputs: Sequence[Any]
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    constants: Sequence[Any] = ()  # further inputs, as initializers
    note: str = ""
    dynamic: bool = False  # declares no shapes
    expected: Any = None  # where ONNX Runtime does not have the old form

    @property
    def id(self) -> str:
        return " ".join(part for part in (self.op, str(self.opset), self.note, "dynamic" * self.dynamic) if part)

    def model(self) -> Any:
        names = [f"x{i}" for i in range(len(self.inputs))]
        constants = [numpy_helper.from_array(array, f"c{i}") for i, array in enumerate(self.constants)]
        node = helper.make_node(
            self.op,
            names + [tensor.name for tensor in constants],
            [f"y{i}" for i in range(self.outputs)],
            "node",
            **self.attributes,
        )
        given = [
            value(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), [None] * array.ndim if self.dynamic else array.shape
            )
            for name, array in zip(names, self.inputs, strict=True)
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
        return model([node], given, outputs, constants, opset=self.opset, ir_version=6)

    def feeds(self) -> dict[str, Any]:
        return {f"x{i}": array for i, array in enumerate(self.inputs)}


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def floats(*values: float) -> Any:
    return np.array(values, np.float32)


STATISTICS = [RNG.uniform(0.5, 2, 4).astype(np.float32) for _ in range(4)]
PER_ELEMENT = [RNG.uniform(0.5, 2, (4, 6, 5)).astype(np.float32) for _ in range(4)]
ROI = [np.array([[0, 0, 3, 3]], np.float32), ints(0)]
GRID = RNG.uniform(-1, 1, (1, 3, 3, 2)).astype(np.float32)

BATCH_NORMAL = (X4 - STATISTICS[2].reshape(4, 1, 1)) / np.sqrt(STATISTICS[3].reshape(4, 1, 1) + np.float32(1e-5))
BATCH_NORMAL = BATCH_NORMAL * STATISTICS[0].reshape(4, 1, 1) + STATISTICS[1].reshape(4, 1, 1)
BINARY = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power}

REDUCTIONS = [op for op in ADAPTERS if op.startswith("Reduce")]
CASES = [
    *[Case(op, 12, [np.abs(X3)], {"axes": [0, -1]}) for op in REDUCTIONS],
    *[Case(op, 12, [np.abs(X3)], {"keepdims": 0}, note="all axes") for op in REDUCTIONS],
    *[
        Case(op, opset, [X3], attributes, note=f"axis {attributes.get('axis')}", dynamic=dynamic)
        for op in ("Softmax", "LogSoftmax", "Hardmax")
        for opset in (7, 11)
        for attributes in ({}, {"axis": 0}, {"axis": 2}, *([{"axis": -1}, {"axis": -2}] if opset == 11 else []))
        for dynamic in (False, True)
    ],
    *[
        Case(op, 6, [np.abs(X3), POSITIVE], {"broadcast": 1, "axis": 1}, expected=[do(np.abs(X3), POSITIVE[:, None])])
        for op, do in BINARY.items()
    ],
    Case("Add", 6, [X3, X3[0, 0]], {"broadcast": 1}, note="last axes", expected=[X3 + X3[0, 0]]),
    Case("Add", 6, [X3, X3], note="same shape", expected=[X3 + X3]),
    Case(
        "PRelu", 6, [X4, floats(1, 2, 3, 4)], expected=[np.where(X4 < 0, X4 * floats(1, 2, 3, 4).reshape(4, 1, 1), X4)]
    ),
    Case("PRelu", 6, [X4, floats(2)], note="one slope", expected=[np.where(X4 < 0, X4 * 2, X4)]),
    Case("Gemm", 6, [X3[0], X3[0].T, X3[0, 0, :3]], {"broadcast": 1}, expected=[X3[0] @ X3[0].T + X3[0, 0, :3]]),
    Case("Dropout", 6, [X3], {"is_test": 1}, expected=[X3]),
    Case("BatchNormalization", 6, [X4, *STATISTICS], {"is_test": 1}, expected=[BATCH_NORMAL]),
    Case("Squeeze", 7, [X3[:1, :, :1]], {"axes": [0, 2]}),
    Case("Squeeze", 11, [X3[:1, :, :1]], note="all"),
    Case("Squeeze", 11, [X3[:, :, :1]], {"axes": [-1]}),
    Case("Unsqueeze", 7, [X3], {"axes": [0, 4]}),
    Case("Unsqueeze", 12, [X3], {"axes": [-1]}),
    Case("Slice", 7, [X3], {"starts": [1, -3], "ends": [2, 2**31 - 1], "axes": [1, 2]}),
    Case("Slice", 9, [X3], {"starts": [0, 1], "ends": [1, -1]}, note="no axes"),
    Case("Pad", 7, [X3], {"pads": [0, 1, 2, 1, 0, 1], "value": 1.5}),
    Case("Pad", 7, [X3], {"pads": [0, 1, 2, 1, 0, 1], "mode": "reflect"}, note="reflect"),
    Case("Pad", 10, [X3.astype(np.float64)], {"pads": [0, 1, 0, 1, 0, 1], "value": -2.0}, note="float64"),
    Case("Split", 7, [X4], {"axis": 1, "split": [1, 3]}, outputs=2),
    Case("Split", 11, [X4], {"axis": -2}, outputs=3, note="equal"),
    Case("Split", 13, [X4], {"axis": 1}, outputs=2, note="equal"),
    Case("Split", 13, [X4], {"axis": 1}, outputs=2, constants=[ints(3, 1)]),
    Case("TopK", 7, [X3], {"k": 2}, outputs=2),
    Case("TopK", 9, [X3], {"k": 2, "axis": 1}, outputs=2),
    Case("Clip", 7, [X3], {"min": -0.5, "max": 0.5}),
    Case("Clip", 7, [X3], {"max": 0.5}, note="max only"),
    Case("Clip", 10, [X3], note="neither"),
    Case(
        "Clip",
        6 + 1,
        [np.array([1e300, -1e300, 1.0])],
        note="float64 clips at the limits of float32",
        expected=[np.array([3.4028234663852886e38, -3.4028234663852886e38, 1.0])],
    ),
    Case("Dropout", 7, [X3], {"ratio": 0.3}),
    Case("Dropout", 7, [X3], outputs=2, note="mask", expected=[X3, np.ones_like(X3)]),
    Case("Dropout", 10, [X3], {"ratio": 0.3}, outputs=2, expected=[X3, np.ones_like(X3, bool)]),
    Case("BatchNormalization", 7, [X4, *STATISTICS], {"spatial": 1, "epsilon": 1e-3}),
    Case("BatchNormalization", 9, [X4, *STATISTICS]),
    Case(
        "BatchNormalization",
        7,
        [X4, *PER_ELEMENT],
        {"spatial": 0, "epsilon": 1e-3},
        note="per element",
        expected=[(X4 - PER_ELEMENT[2]) / np.sqrt(PER_ELEMENT[3] + np.float32(1e-3)) * PER_ELEMENT[0] + PER_ELEMENT[1]],
    ),
    Case("Upsample", 7, [IMAGE], {"scales": [1.0, 1.0, 2.0, 1.5]}),
    Case("Upsample", 7, [IMAGE], {"scales": [1.0, 1.0, 2.0, 2.0], "mode": "linear"}, note="linear"),
    Case("Upsample", 9, [IMAGE], {"mode": "nearest"}, constants=[floats(1, 1, 2, 3)]),
    Case("Upsample", 9, [IMAGE], {"mode": "linear"}, constants=[floats(1, 1, 2, 1.5)], note="linear"),
    Case("Resize", 10, [IMAGE], constants=[floats(1, 1, 2, 2)], note="larger"),
    Case("Resize", 10, [IMAGE], constants=[floats(1, 1, 0.6, 0.6)], note="smaller"),
    Case("Resize", 10, [IMAGE], constants=[floats(1, 1, 0.6, 2)], note="smaller and larger"),
    Case("Resize", 10, [IMAGE], {"mode": "linear"}, constants=[floats(1, 1, 0.6, 2)], note="linear"),
    Case("Resize", 10, [IMAGE, floats(1, 1, 2, 2)], note="computed scales"),
    Case("Resize", 11, [IMAGE], constants=[floats(), floats(1, 1, 2, 2)], note="empty roi"),
    Case("Resize", 11, [IMAGE], constants=[floats(), floats(), ints(1, 1, 3, 7)], note="empty scales"),
    Case(
        "Resize",
        13,
        [IMAGE],
        {"mode": "cubic", "coordinate_transformation_mode": "align_corners"},
        constants=[floats(), floats(), ints(1, 1, 3, 7)],
        note="cubic",
    ),
    Case("RoiAlign", 10, [IMAGE, *ROI], {"output_height": 2, "output_width": 2, "sampling_ratio": 2}),
    Case("RoiAlign", 16, [IMAGE, *ROI], {"output_height": 2, "output_width": 2, "sampling_ratio": 2}),
    Case("GridSample", 16, [IMAGE, GRID]),
    Case("GridSample", 16, [IMAGE, GRID], {"mode": "bicubic"}, note="bicubic"),
    Case("GridSample", 16, [IMAGE, GRID], {"mode": "nearest"}, note="nearest"),
    Case("Scatter", 9, [X3, np.array([[[1]], [[0]]], np.int64), X3[:, :1, :1]], {"axis": 1}),
    Case("DFT", 17, [X3.reshape(2, 12, 1)], note="default axis"),
    Case("DFT", 17, [X4[..., :1]], {"axis": 2, "onesided": 1}, note="one-sided"),
]


def old(case: Case) -> list[Any]:
    if case.expected is not None:
        return list(case.expected)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(case.model().SerializeToString(), options, ["CPUExecutionProvider"])
    return list(session.run(None, case.feeds()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_new_form_computes_what_the_old_one_did(case: Case) -> None:
    recorded = read(case.model()).graph
    found = ReferenceEvaluator(recorded).run(None, case.feeds())
    for expected, actual in zip(old(case), found, strict=True):
        assert actual.dtype == expected.dtype
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dynamic", [False, True])
def test_group_normalization_had_a_scale_for_each_group(dynamic: bool) -> None:
    scale, bias = floats(1, 2), floats(3, 4)
    case = Case("GroupNormalization", 18, [X4, scale, bias], {"num_groups": 2}, dynamic=dynamic)
    (found,) = ReferenceEvaluator(read(case.model()).graph).run(None, case.feeds())
    groups = X4.reshape(2, 2, -1)
    normal = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + 1e-5)
    expected = normal * scale[:, None] + bias[:, None]
    np.testing.assert_allclose(found, expected.reshape(X4.shape), rtol=1e-4, atol=1e-5)


def test_batch_normalization_with_five_outputs_was_training() -> None:
    case = Case("BatchNormalization", 9, [X4, *STATISTICS], {"momentum": 0.8}, outputs=5)
    found = ReferenceEvaluator(read(case.model()).graph).run(None, case.feeds())
    mean, variance = X4.mean((0, 2, 3)), X4.var((0, 2, 3))
    scale, bias, running_mean, running_variance = (array.reshape(4, 1, 1) for array in STATISTICS)
    expected = [
        (X4 - mean.reshape(4, 1, 1)) / np.sqrt(variance.reshape(4, 1, 1) + 1e-5) * scale + bias,
        running_mean.ravel() * np.float32(0.8) + mean * np.float32(0.2),
        running_variance.ravel() * np.float32(0.8) + variance * np.float32(0.2),
        mean,
        variance,
    ]
    for actual, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-5)


def scan_8(lengths: str = "", **attributes: Any) -> Any:
    """A running sum over the sequence, for each item of the batch."""
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "x"], ["t"]), helper.make_node("Identity", ["t"], ["o"])],
        "body",
        [value("s", shape=(2,)), value("x", shape=(2,))],
        [value("t", shape=(2,)), value("o", shape=(2,))],
    )
    node = helper.make_node(
        "Scan", [lengths, "init", "xs"], ["last", "sums"], "scan", body=body, num_scan_inputs=1, **attributes
    )
    given = [value("init", shape=(3, 2)), value("xs", shape=(3, 4, 2)), value("n", onnx.TensorProto.INT64, (3,))]
    return model([node], given, [value("last", shape=(3, 2)), value("sums", shape=(3, 4, 2))], opset=8, ir_version=3)


@pytest.mark.parametrize("directions", [None, [0], [1]])
def test_scan_of_opset_8_ran_over_a_batch(directions: list[int] | None) -> None:
    attributes = {} if directions is None else {"directions": directions}
    init = RNG.standard_normal((3, 2)).astype(np.float32)
    xs = RNG.standard_normal((3, 4, 2)).astype(np.float32)
    recorded = read(scan_8(**attributes)).graph
    feeds = {"init": init, "xs": xs, "n": ints(4, 4, 4)}
    # onnx.reference has no Scan over axes or directions as ONNX Runtime does
    session = onnxruntime.InferenceSession(downgraded(recorded).SerializeToString(), providers=["CPUExecutionProvider"])
    last, sums = session.run(None, feeds)
    order = xs[:, ::-1] if directions == [1] else xs
    expected = init[:, None] + np.cumsum(order, axis=1)
    np.testing.assert_allclose(sums, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(last, expected[:, -1], rtol=1e-5, atol=1e-6)


def downgraded(recorded: Any) -> Any:
    """The ops of this model are the same in an opset that ONNX Runtime knows."""
    made = onnx.ModelProto()
    made.CopyFrom(recorded)
    made.opset_import[0].version = 21
    made.ir_version = 10
    return made


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        (scan_8(lengths="n"), Unsupported, "Scan node 'scan': sequence_lens of Scan in opset 8"),
        (
            Case("Slice", 7, [X3], {"starts": [1, 2], "ends": [2]}).model(),
            InvalidModel,
            "Slice node 'node': has 2 starts, 1 ends and 2 axes",
        ),
        (
            Case("GroupNormalization", 18, [X4, floats(1), floats(1)], {"num_groups": 0}).model(),
            InvalidModel,
            "num_groups is 0",
        ),
        (
            Case("BatchNormalization", 7, [X4, *PER_ELEMENT], {"spatial": 0}, outputs=5).model(),
            Unsupported,
            "training outputs together with spatial=0",
        ),
    ],
)
def test_what_cannot_be_brought_forward_is_named(made: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read(made)


def test_rows_are_in_ascending_order() -> None:
    for op, rows in ADAPTERS.items():
        versions = [until for until, _ in rows]
        assert versions == sorted(set(versions)), op
        assert versions[0] > OLDEST, op
        assert versions[-1] <= NEWEST + 1, op


def test_every_version_of_every_op_has_a_decision() -> None:
    """A newer onnx package fails here until adapters or compatible.py say what its versions mean."""
    assert onnx.defs.onnx_opset_version() == NEWEST
    history: dict[str, set[int]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            history.setdefault(schema.name, set()).add(schema.since_version)
    undecided, stale = set(), set()
    for op, versions in history.items():
        changes = {version for version in versions if version > OLDEST and version > min(versions)}
        decided = {until for until, _ in ADAPTERS.get(op, ()) if until <= NEWEST}
        listed = {*SAME_FORM.get(op, ()), *NEW_OPTION.get(op, ())}
        assert not decided & listed, op
        undecided |= {(op, version) for version in changes - decided - listed}
        stale |= {(op, version) for version in (decided | listed) - changes}
    assert undecided == set()
    assert stale == set()


def test_ops_that_no_newest_opset_has_are_renamed() -> None:
    for op in {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}:
        deprecated = onnx.defs.get_schema(op, NEWEST, "").deprecated
        assert deprecated == (op in RENAMED), op
