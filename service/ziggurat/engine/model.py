"""A loaded model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ziggurat import _native
from ziggurat.engine.engine import Engine
from ziggurat.errors import InvalidArgument, Unavailable
from ziggurat.types import TensorSpec

Array = np.ndarray[Any, Any]


class CancelToken(_native.CancelToken):
    """Ends runs early: give it to `Model.run(cancel=...)`, call `cancel()` from any thread."""


@dataclass(frozen=True)
class Plan:
    """What was fused, chosen and placed; `str(plan)` prints it, one line a step.

    Attributes:
        text: the printed plan.
        fingerprint: equal fingerprints give equal bits for equal inputs.
        steps: how many steps a run walks.
        fallback_steps: those that run on the CPU because the wanted device has no kernel.
        weight_bytes: constants kept as they came, besides the packed ones.
        passes: for each optimizer pass: name, rewrites, microseconds.
        warnings: what the loader found odd and accepted.
        graph: for each input, step and output: op ("input", "output" or the operator), node (or the tensor's name),
            kernel, device, the names of the values it reads (inputs) and writes (outputs), the outputs' types, and
            their places: "slab", "in place", or "columns of %x" where they lie in another value.
    """

    text: str
    fingerprint: str
    steps: int
    fallback_steps: int
    weight_bytes: int
    passes: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    graph: list[dict[str, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Batching:
    """What is proved about the rows of a model's batch dimension.

    Attributes:
        independent: no row sees another, so requests may be put together and taken apart again.
        reason: where not, why.
        input_axes, output_axes: for each input and output the axis that rows lie along; -1: the same for all rows.
    """

    independent: bool
    reason: str
    input_axes: list[int]
    output_axes: list[int]


class Model:
    """A model ready to run. Thread-safe; runs release the GIL. Made by `ziggurat.load`."""

    def __init__(
        self,
        engine: Engine,
        graph: _native.Graph,
        *,
        device: str = "auto",
        threads: int | None = None,
        optimize: bool = True,
        disabled_passes: Sequence[str] = (),
        keep_constants: bool = False,
        measure: bool = False,
        warnings: Sequence[str] = (),
    ) -> None:
        self._core: _native.Model | None = _native.Model(
            engine.core, graph, device, threads or 0, optimize, list(disabled_passes), keep_constants, measure
        )
        self.engine = engine
        self.on_failure: Callable[[Model, Mapping[str, Any], Exception], None] | None = None  # sees runs that raise
        self.warnings = list(warnings)
        self._inputs = [_spec(*spec) for spec in self._core.inputs]
        self._outputs = [_spec(*spec) for spec in self._core.outputs]
        self._input_names = [spec.name for spec in self._inputs]
        self._output_names = [spec.name for spec in self._outputs]
        self._is_tensor = [spec.dtype not in _NOT_TENSORS for spec in self._inputs]

    @property
    def inputs(self) -> list[TensorSpec]:
        return list(self._inputs)

    @property
    def outputs(self) -> list[TensorSpec]:
        return list(self._outputs)

    def run(
        self,
        feeds: Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        out: Mapping[str, Array] | None = None,
        deadline: float | None = None,
        cancel: CancelToken | None = None,
    ) -> dict[str, Any]:
        """Runs the model once.

        Args:
            feeds: an array for each input, by name; any array NumPy or DLPack can show, strided or read-only too.
                Lists feed sequences, None an empty optional.
            outputs: names of the outputs wanted. Default: all.
            out: dense arrays to write results into, by output name; they must have the result's type and shape.
            deadline: on the clock of `time.monotonic()`, in seconds; polled before each step.
            cancel: polled likewise.

        Returns:
            The outputs by name, in the model's order. The arrays own their memory and outlive the model.

        Raises:
            InvalidArgument: an input is missing, unknown, or of another type or shape, named with what was expected.
            OutOfMemory, Cancelled, DeadlineExceeded.

        Example:
            >>> model.run({"image": np.zeros((1, 1, 8, 8), np.float32)})["probabilities"].shape
            (1, 10)
        """
        arrays, targets = self._arrays(feeds), self._targets(out)
        try:
            results = self._live.run(arrays, targets, deadline, cancel)
        except Exception as error:
            if self.on_failure is not None:
                self.on_failure(self, dict(zip(self._input_names, arrays, strict=True)), error)
            raise
        named = dict(zip(self._output_names, results, strict=True))
        return named if outputs is None else {name: named[name] for name in self._known(outputs)}

    def profile(self, feeds: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Runs once and measures: for each step its op, node, kernel, device, microseconds, bytes and flops."""
        return self._live.profile(self._arrays(feeds))

    def check(self, feeds: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Runs once, and each step's op again on the same inputs, expanded on the reference device.

        Load with `keep_constants=True`, or steps whose weights are packed cannot be compared.

        Returns:
            For each step in order its op, node and kernel, `distance`, the largest difference of an output as a part
            of its largest magnitude (infinite where types or shapes differ), and `problem`, why it was not compared.
        """
        return self._live.check(self._arrays(feeds))

    def plan(self) -> Plan:
        """What a run of this model does."""
        core = self._live
        return Plan(
            text=core.plan_text(),
            fingerprint=core.fingerprint,
            steps=core.step_count,
            fallback_steps=core.fallback_steps,
            weight_bytes=core.weight_bytes,
            passes=core.passes,
            warnings=list(self.warnings),
            graph=core.graph(),
        )

    def batching(self) -> Batching:
        """Whether requests may share a run of this model, with the same bits as alone."""
        return Batching(*self._live.rows)

    def memory(self) -> dict[str, int]:
        """Bytes this model holds: `packed` weights in the kernels' order (equal ones of several models are held once)
        and `constants` kept as they came."""
        need = self._live.load_need()
        return {"packed": need["packed"], "constants": need["constants"]}

    def load_need(self) -> dict[str, int]:
        """Bytes that loading takes: `packed` weights in the kernels' order (equal ones of several models are held
        once), `constants` kept as they came, and for a while `largest_source`, the largest weight as stored.
        """
        return self._live.load_need()

    def run_need(self, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
        """What one run takes, by the shapes of its inputs.

        Returns:
            Bytes of the `slab` for intermediate results, kernels' `scratch` and `outputs`; `dynamic_steps`, whose
            results' sizes only running tells: theirs come on top.

        Raises:
            InvalidArgument: a shape is missing or does not fit.
        """
        missing = [
            spec.name
            for spec, tensor in zip(self._inputs, self._is_tensor, strict=True)
            if tensor and spec.name not in shapes
        ]
        if missing:
            raise InvalidArgument(f"no shape given for {', '.join(map(repr, missing))}")
        return self._live.run_need([list(shapes[name]) if name in shapes else None for name in self._input_names])

    def close(self) -> None:
        """Gives the model's memory back once its last run has ended. Arrays already returned stay valid."""
        self._core = None

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def core(self) -> _native.Model:
        """The native model. Raises Unavailable once closed."""
        return self._live

    @property
    def _live(self) -> _native.Model:
        if self._core is None:
            raise Unavailable("the model is closed")
        return self._core

    def _arrays(self, feeds: Mapping[str, Any]) -> list[Any]:
        if len(feeds) != len(self._input_names) or any(name not in feeds for name in self._input_names):
            self._refuse_names(feeds)
        return [
            _dense(feeds[name], name) if is_tensor else _elements(feeds[name], name)
            for name, is_tensor in zip(self._input_names, self._is_tensor, strict=True)
        ]

    def _refuse_names(self, feeds: Mapping[str, Any]) -> None:
        missing = [name for name in self._input_names if name not in feeds]
        unknown = [name for name in feeds if name not in self._input_names]
        problem = "; ".join(
            f"{what}: {', '.join(map(repr, names))}"
            for what, names in (("missing", missing), ("unknown", unknown))
            if names
        )
        raise InvalidArgument(f"wrong inputs, {problem}; the model takes {', '.join(map(repr, self._input_names))}")

    def _known(self, outputs: Sequence[str]) -> Sequence[str]:
        for name in outputs:
            if name not in self._output_names:
                raise InvalidArgument(f"no output {name!r}; the model gives {', '.join(map(repr, self._output_names))}")
        return outputs

    def _targets(self, out: Mapping[str, Array] | None) -> list[Array | None]:
        if not out:
            return []
        self._known(list(out))
        for name, array in out.items():
            if not (array.flags.c_contiguous and array.flags.writeable):
                raise InvalidArgument("the array given for it must be dense and writeable", tensor=name)
        return [out.get(name) for name in self._output_names]


_NOT_TENSORS = frozenset(("sequence", "optional", "map", "sparse", "resource"))


def _dense(value: Any, name: str) -> Array:
    """The value as a dense, aligned array of the machine's byte order."""
    if not isinstance(value, np.ndarray):
        value = np.from_dlpack(value) if hasattr(value, "__dlpack__") else np.asarray(value)
    flags = value.flags
    if not (flags.c_contiguous and flags.aligned):
        value = value.copy(order="C")
    if not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder("="))
    if value.dtype.hasobject and value.dtype.kind != "O":
        raise InvalidArgument(f"arrays of {value.dtype} are not tensors", tensor=name)
    return value  # type: ignore[no-any-return]


def _elements(value: Any, name: str) -> Any:
    """A sequence's elements as arrays; an optional's element or None; a resource as it is."""
    if value is None or isinstance(value, _native.KvPool):
        return value
    if isinstance(value, (list, tuple)):
        return [_elements(item, name) if isinstance(item, (list, tuple)) else _dense(item, name) for item in value]
    return _dense(value, name)


def _spec(name: str, dtype: str, dims: list[int | str] | None) -> TensorSpec:
    if dims is None:
        return TensorSpec(name, dtype, None)
    shape = tuple(dim if isinstance(dim, int) else None for dim in dims)
    return TensorSpec(name, dtype, shape, tuple(None if isinstance(dim, int) else dim for dim in dims))
