"""The onnx package's own models and node cases, as far as reading goes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.backend.test.loader import load_model_tests
from onnx.reference import ReferenceEvaluator

from tests.formats.onnx.recorder import WITH_FUNCTION, Recorder
from ziggurat.errors import Unsupported
from ziggurat.formats.onnx import read_onnx

DATA = Path(onnx.__file__).parent / "backend/test/data"
LIGHT = sorted((DATA / "light").glob("*.onnx"))
CONVERTED = [path.parent for kind in ("converted", "operator") for path in DATA.glob(f"pytorch-{kind}/*/model.onnx")]
# What the names of node cases for other domains than ai.onnx start with.
OTHER_DOMAINS = tuple(f"test_{name}" for name in ["ai_onnx_ml_", "adagrad", "adam", "momentum", "nesterov"])


def make_node_cases() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # making the cases overflows on purpose
        cases = load_model_tests(kind="node")
    return [case for case in cases if not case.name.startswith(OTHER_DOMAINS)]


@pytest.fixture(scope="module")
def node_cases() -> list[Any]:
    return make_node_cases()


def test_the_package_has_the_models_these_tests_are_about() -> None:
    assert len(LIGHT) == 9
    assert len(CONVERTED) == 117


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_a_light_model_is_read_without_a_warning(path: Path) -> None:
    imported = read_onnx(path, Recorder)
    original = onnx.load(path)
    assert imported.warnings == []
    # IR version 3 lists initializers as inputs too; what is fed are the others
    initializers = {tensor.name for tensor in original.graph.initializer}
    fed = [value.name for value in original.graph.input if value.name not in initializers]
    assert [value.name for value in imported.graph.graph.input] == fed
    assert [value.name for value in imported.graph.graph.output] == [value.name for value in original.graph.output]


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("path", CONVERTED, ids=lambda path: path.name)
def test_a_converted_model_of_opset_6_to_9_computes_what_it_did(path: Path) -> None:
    model = read_onnx(path / "model.onnx", Recorder).graph
    data = path / "test_data_set_0"
    names = [value.name for value in model.graph.input]
    feeds = {name: loaded(data / f"input_{i}.pb") for i, name in enumerate(names)}
    for i, found in enumerate(ReferenceEvaluator(model).run(None, feeds)):
        assert same(found, loaded(data / f"output_{i}.pb"))


def loaded(path: Path) -> Any:
    return onnx.numpy_helper.to_array(onnx.load_tensor(path))


@pytest.mark.parametrize("unknown", [frozenset(), WITH_FUNCTION], ids=["as ops", "as standard bodies"])
def test_every_node_case_of_the_standard_is_read(node_cases: list[Any], unknown: frozenset[str]) -> None:
    """With the second parameter every op that the standard defines by other ops is inlined."""
    failed = {}
    for case in node_cases:
        try:
            read_onnx(case.model.SerializeToString(), lambda name: Recorder(name, unknown), check=False)
        except Unsupported as error:
            failed[case.name] = str(error)
    assert failed == {}
    assert len(node_cases) > 1800


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("unknown", [frozenset(), WITH_FUNCTION], ids=["as ops", "as standard bodies"])
def test_node_cases_give_the_same_results_as_before_reading(node_cases: list[Any], unknown: frozenset[str]) -> None:
    wrong, compared = [], 0
    for case in node_cases:
        if (
            case.name.endswith("_expanded")
            or case.name.startswith("test_bernoulli")
            or not (expected := run(case.model, case))
        ):
            continue
        model = read_onnx(case.model.SerializeToString(), lambda name: Recorder(name, unknown), check=False).graph
        compared += 1
        if not all(same(a, b) for a, b in zip(expected, run(model, case), strict=True)):
            wrong.append(case.name)
    assert compared > 1200
    # its standard body rounds to bfloat16 after every step
    assert set(wrong) <= {"test_celu_bfloat16"}


def run(model: Any, case: Any) -> list[Any]:
    """Outputs for the case's first data set; [] where onnx.reference cannot run the original model."""
    feeds = dict(zip([value.name for value in case.model.graph.input], case.data_sets[0][0], strict=False))
    try:
        return list(ReferenceEvaluator(model).run(None, feeds))
    except Exception:
        if model is case.model:
            return []
        raise


def same(a: Any, b: Any) -> bool:
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if a is None or b is None:
        return a is b
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind in "OUSbc":
        return bool((a == b).all())
    return np.allclose(a.astype(np.float64), b.astype(np.float64), rtol=1e-3, atol=1e-5, equal_nan=True)
