"""What is needed to see a failed run again, written to a folder of the operator's: model, inputs, and what ran.

A bundle is a folder in the layout of ONNX's own test cases, which other runtimes read too: `model.onnx` with its
external data, `test_data_set_0/input_N.pb`, and beside them `report.json`: the error and where it arose, the plan with
its fingerprint, and the engine. Inputs may be confidential: bundles are for their owner's eyes only (mode 0700).
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ziggurat.engine import Model
from ziggurat.errors import Cancelled, DeadlineExceeded, InvalidArgument, InvalidModel, OutOfMemory, Unavailable
from ziggurat.version import __version__

FORMAT = "ziggurat-repro-1"
REPORT, MODEL, INPUTS = "report.json", "model.onnx", "test_data_set_0"


def is_failure(error: BaseException) -> bool:
    """Whether a run failed for reasons of its own: not by the caller's limits, nor refused before its first step."""
    if isinstance(error, (Cancelled, DeadlineExceeded, Unavailable, OutOfMemory)):
        return False
    return not isinstance(error, InvalidArgument) or error.op is not None or error.node is not None


class Repro:
    """Writes bundles for the models that it watches. Thread-safe; never raises into a run.

    Args:
        folder: where bundles go; made when the first is written.
        bundles: how many may lie there. When they do, no more are written: nothing is deleted.
        limit: bytes of one bundle. A model that does not fit is named by its path instead of copied; a run whose inputs
            do not fit leaves no bundle.
        background: write on a thread of its own, one at a time, for callers that must not wait; failures that come
            meanwhile are not written.
        tell: is told of each bundle and of each that could not be written, in words.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        bundles: int = 10,
        limit: int = 1 << 30,
        *,
        background: bool = False,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        if bundles < 1 or limit < 1:
            raise InvalidArgument(f"bundles and limit must be at least 1, not {bundles} and {limit}")
        self.folder = Path(folder)
        self._bundles = bundles
        self._limit = limit
        self._background = background
        self._tell = tell or (lambda text: None)
        self._busy = threading.Lock()
        self._seen: set[tuple[int, str]] = set()  # what was tried: the same failure is not written twice

    def watch(self, model: Model, source: str | os.PathLike[str] | bytes, options: Mapping[str, Any]) -> None:
        """From now on runs of `model` that fail are written; `options` are those of `ziggurat.load`."""
        kept: Path | bytes = source if isinstance(source, bytes) else Path(source)
        model.on_failure = partial(self._failed, kept, dict(options))

    def _failed(
        self, source: Path | bytes, options: dict[str, Any], model: Model, feeds: Mapping[str, Any], error: Exception
    ) -> None:
        if not is_failure(error) or not self._busy.acquire(blocking=not self._background):
            return
        write = partial(self._write, source, options, model, feeds, error)
        key = (hash(source), str(error))
        if key in self._seen or len(self._seen) >= self._bundles:
            self._busy.release()
            return
        self._seen.add(key)
        if self._background:
            threading.Thread(target=write, name="repro").start()
        else:
            write()

    def _write(
        self, source: Path | bytes, options: dict[str, Any], model: Model, feeds: Mapping[str, Any], error: Exception
    ) -> None:
        try:
            path = self._bundle(source, _report(model, options, error), model, feeds)
            self._tell(f"a run failed; written to {path} (ziggurat check {path})")
            error.add_note(f"written for a rerun: ziggurat check {path}")
        except Exception as problem:  # whatever it is, the run's own error matters more
            self._tell(f"a run failed, and could not be written to {self.folder}: {problem}")
        finally:
            self._busy.release()

    def _bundle(self, source: Path | bytes, report: dict[str, Any], model: Model, feeds: Mapping[str, Any]) -> Path:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if sum(1 for _ in self.folder.glob(f"*/{REPORT}")) >= self._bundles:
            raise OSError(f"{self._bundles} bundles lie there, which is the limit")
        inputs = [_tensor(spec.name, feeds[spec.name]).SerializeToString() for spec in model.inputs]
        size = sum(map(len, inputs))
        if size > self._limit:
            raise OSError(f"the inputs have {size} bytes, the limit of a bundle is {self._limit}")
        partial_path = self.folder / f".partial-{os.getpid()}-{threading.get_ident()}"
        (partial_path / INPUTS).mkdir(mode=0o700, parents=True)
        os.chmod(partial_path, 0o700)
        try:
            for number, data in enumerate(inputs):
                (partial_path / INPUTS / f"input_{number}.pb").write_bytes(data)
            report["model"] = _copy_model(source, partial_path, self._limit - size)
            (partial_path / REPORT).write_text(json.dumps(report, indent=1), encoding="utf-8")
            stem = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{report['fingerprint'][:8]}"
            number = next(n for n in range(1, 1 << 20) if not (self.folder / f"{stem}-{n}").exists())
            return partial_path.rename(self.folder / f"{stem}-{number}")
        except BaseException:
            shutil.rmtree(partial_path, ignore_errors=True)
            raise


def _report(model: Model, options: dict[str, Any], error: Exception) -> dict[str, Any]:
    plan, engine = model.plan(), model.engine
    fields = {name: getattr(error, name, None) for name in ("code", "op", "node", "tensor")}
    return {
        "format": FORMAT,
        "version": __version__,
        "error": {"type": type(error).__name__, "text": str(error), **fields},
        "fingerprint": plan.fingerprint,
        "plan": plan.text,
        "options": options,
        "engine": {"isa": engine.isa, "threads": engine.threads, "threads_reason": engine.threads_reason},
    }


def _tensor(name: str, value: Any) -> onnx.TensorProto:
    if value is None or isinstance(value, (list, tuple)) or not hasattr(value, "__array__"):
        raise TypeError(f"input '{name}' is no tensor")
    array = np.asarray(value)
    if array.dtype.kind == "U":
        array = array.astype(object)
    return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)


def _copy_model(source: Path | bytes, folder: Path, room: int) -> str:
    """The name of the copy in the bundle, or the path of a model that is too large to be copied."""
    if isinstance(source, bytes):
        if len(source) > room:
            raise OSError(f"the model has {len(source)} bytes and no path, {room} are left")
        (folder / MODEL).write_bytes(source)
        return MODEL
    size = source.stat().st_size
    if size > room:
        return str(source.resolve())
    parts = sorted(set(_locations(onnx.load(source, load_external_data=False).graph)))
    if size + sum((source.parent / part).stat().st_size for part in parts) > room:
        return str(source.resolve())
    shutil.copyfile(source, folder / MODEL)
    for part in parts:
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.parent / part, folder / part)
    return MODEL


def _locations(graph: onnx.GraphProto) -> Iterator[str]:
    """Files of external data, relative to the model's: loading has checked that they lie beside it or below."""
    tensors = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for inner in (attribute.g, *attribute.graphs):
                yield from _locations(inner)
    for tensor in tensors:
        yield from (entry.value for entry in tensor.external_data if entry.key == "location")


@dataclass(frozen=True)
class Bundle:
    """`report` is what report.json holds: error, fingerprint, plan, options, engine."""

    model: Path
    feeds: dict[str, np.ndarray[Any, Any]]
    report: dict[str, Any]


def is_bundle(path: Path) -> bool:
    return (path / REPORT).is_file()


def read_bundle(path: Path) -> Bundle:
    """Raises InvalidModel naming the file that is missing or damaged."""
    try:
        report = json.loads((path / REPORT).read_text(encoding="utf-8"))
        if report.get("format") != FORMAT:
            raise InvalidModel(f"'{path / REPORT}' is no report of this version: format {report.get('format')!r}")
        model = path / str(report["model"])  # an absolute path stays what it is
        files = sorted((path / INPUTS).glob("input_*.pb"), key=lambda file: int(file.stem.partition("_")[2]))
        feeds = {}
        for file in files:
            tensor = onnx.TensorProto.FromString(file.read_bytes())
            feeds[tensor.name] = numpy_helper.to_array(tensor)
        return Bundle(model, feeds, report)
    except InvalidModel:
        raise
    except Exception as error:  # of the file system, of JSON, of protobuf
        raise InvalidModel(f"'{path}' is no whole bundle: {error}") from None
