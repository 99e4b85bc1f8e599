"""The cases of the onnx package's backend suite, as data: models, inputs, expected outputs, and how to compare."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")


@dataclass(frozen=True)
class Case:
    """One model with one or more sets of inputs and outputs. `source` is what the onnx package made."""

    name: str
    category: str
    rtol: float
    atol: float
    source: Any
    feeds_weights: bool = False  # whether the inputs of a data set include graph inputs that have initialisers

    def model(self) -> onnx.ModelProto:
        return self.source.model or onnx.load(Path(self.source.model_dir) / "model.onnx")

    def data(self) -> Iterator[tuple[Sequence[Any], Sequence[Any]]]:
        """(inputs, expected outputs) in the order of the graph's; each an array, a list, None or a protobuf."""
        if self.source.data_sets is not None:
            yield from self.source.data_sets
            return
        graph = self.model().graph
        for folder in sorted(Path(self.source.model_dir).glob("test_data_set_*")):
            yield _stored(folder, "input", graph.input), _stored(folder, "output", graph.output)


def _stored(folder: Path, kind: str, values: Sequence[onnx.ValueInfoProto]) -> list[Any]:
    protos = {"sequence_type": onnx.SequenceProto, "optional_type": onnx.OptionalProto}
    out = []
    for index, path in enumerate(sorted(folder.glob(f"{kind}_*.pb"), key=lambda p: int(p.stem.rpartition("_")[2]))):
        proto = protos.get(values[index].type.WhichOneof("value"), onnx.TensorProto)()
        proto.ParseFromString(path.read_bytes())
        out.append(proto)
    return out


def _category(kind: str, name: str, model: onnx.ModelProto | None) -> str:
    if kind != "node" or model is None:
        return kind
    if "_expanded" in name:
        return "expanded functions"
    domains = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    return min(domains) if domains else "ai.onnx"


def collect() -> list[Case]:
    """All cases, by name. Generating the node cases takes about ten seconds."""
    from onnx.backend.test.loader import load_model_tests

    found: dict[str, Case] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in KINDS:
            for test in load_model_tests(kind=kind):
                category = _category(kind, test.name, test.model)
                found[test.name] = Case(test.name, category, test.rtol, test.atol, test)
    return [found[name] for name in sorted(found)]


def unpack(value: Any) -> Any:
    """An array, a list of arrays, or None, whatever the suite holds it as."""
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, onnx.SequenceProto):
        return list(numpy_helper.to_list(value))
    if isinstance(value, onnx.OptionalProto):
        optional = numpy_helper.to_optional(value)
        return optional if optional is None or isinstance(optional, list) else np.asarray(optional)
    if isinstance(value, list | tuple):
        return [unpack(item) for item in value]
    return value if value is None else np.asarray(value)


def same(expected: Any, actual: Any, rtol: float, atol: float) -> str:
    """The first difference in words, or "". Types and shapes must be equal; bfloat16 may be two last places off."""
    if isinstance(expected, list):
        if not isinstance(actual, list | tuple) or len(actual) != len(expected):
            return f"expected a list of {len(expected)}, got {type(actual).__name__}"
        return next((d for e, a in zip(expected, actual, strict=True) if (d := same(e, a, rtol, atol))), "")
    if expected is None or actual is None:
        return "" if expected is actual else f"expected {expected}, got {actual}"
    expected, actual = np.asarray(expected), np.asarray(actual)
    if expected.shape != actual.shape:
        return f"shape {actual.shape}, expected {expected.shape}"
    if expected.dtype.kind in "OUST":
        return "" if np.array_equal(expected.astype(object), actual.astype(object)) else "strings differ"
    if expected.dtype != actual.dtype:
        return f"dtype {actual.dtype}, expected {expected.dtype}"
    if expected.dtype.kind not in "biufc":  # ml_dtypes' own, which NumPy cannot subtract from its own
        rtol = max(rtol, 2**-6) if expected.dtype.name == "bfloat16" else rtol
        expected, actual = expected.astype(np.float32), actual.astype(np.float32)
    close = np.isclose(actual, expected, rtol=rtol, atol=atol, equal_nan=True)
    if close.all():
        return ""
    worst = np.argmax(np.where(close, 0, np.abs(np.subtract(actual, expected, dtype=np.complex128))))
    got, want = actual.reshape(-1)[worst], expected.reshape(-1)[worst]
    return f"{(~close).sum()} of {close.size} elements differ, the worst: {got} for {want}"
