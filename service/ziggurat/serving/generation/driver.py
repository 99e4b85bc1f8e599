"""The thread that runs a language model's steps: schedule, forward beside the masks, sample, hand over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ziggurat.errors import Unavailable

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from ziggurat.engine import Generator, TokenEvent

Key = tuple[int, int]  # (request, index): one of the n sequences of a request
Masks = np.ndarray[Any, np.dtype[np.uint32]]

# A step that fails may be one request's fault or bad luck with memory; this many in a row are the model's end.
MAX_FAILURES = 8


class Constraint(Protocol):
    """What the next token of one sequence may be."""

    def mask_into(self, row: Any) -> None: ...
    def accept(self, token: int) -> None: ...
    def copy(self) -> Constraint: ...


class Failure:
    """Told instead of a token event where a sequence ends by an error; `request` None means every request."""

    __slots__ = ("error", "index", "request")

    def __init__(self, error: Exception, request: int | None = None, index: int | None = None) -> None:
        self.error = error
        self.request = request
        self.index = index


Deliver = Callable[[Sequence["TokenEvent | Failure"]], None]


class Driver:
    """Owns one Generator's steps. `add` and `cancel` may be called from any thread; `deliver` is called on the
    driver's own, once a step, and must not block."""

    def __init__(self, name: str, generator: Generator, deliver: Deliver, logger: FilteringBoundLogger) -> None:
        self.last_step = time.monotonic()
        self.last_step_at = 0.0  # Unix seconds; 0 until the first step
        self.steps = 0
        self.failed: Exception | None = None
        self._generator = generator
        self._deliver = deliver
        self._logger = logger.bind(model=name)
        self._constraints: dict[Key, Constraint] = {}
        self._adding = threading.Lock()  # a request and its constraints become known together
        self._work = threading.Event()
        self._closed = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"masks-{name}")
        self._words = (generator.vocab + 31) // 32
        self._thread = threading.Thread(target=self._run, name=f"steps-{name}", daemon=True)
        self._thread.start()

    def add(self, prompt: Sequence[int], options: Mapping[str, Any], constraint: Constraint | None = None) -> int:
        """Queues a request and returns its id; raises what Generator.add does for one that can never run."""
        if self.failed is not None or self._closed:
            raise Unavailable(f"the model stopped: {self.failed or 'it is being unloaded'}")
        with self._adding:
            request: int = self._generator.add(prompt, constrained=constraint is not None, **options)
            if constraint is not None:
                for index in range(options.get("n", 1)):
                    self._constraints[request, index] = constraint.copy() if index else constraint
        self._work.set()
        return request

    def cancel(self, request: int, index: int | None = None) -> None:
        """Takes effect before the next step."""
        with self._adding:
            for key in [key for key in self._constraints if key[0] == request and index in (None, key[1])]:
                del self._constraints[key]
        self._generator.cancel(request, index)
        self._work.set()

    def close(self) -> None:
        """Ends the thread after the step it is in; what still ran is failed."""
        self._closed = True
        self._work.set()
        self._thread.join()
        self._pool.shutdown()

    def _run(self) -> None:
        failures = 0
        while not self._closed:
            self._work.clear()
            try:
                if not self._step():
                    self._work.wait()
                failures = 0
            except Exception as error:
                failures += 1
                self._fail(error, failures >= MAX_FAILURES)
                if self.failed is not None:
                    return
        self._deliver([Failure(Unavailable("the model is being unloaded"))])

    def _step(self) -> bool:
        with self._adding:
            wanted = self._generator.schedule()
        if wanted is None:
            self.last_step = time.monotonic()
            return False
        masks = self._pool.submit(self._fill, wanted) if wanted else None
        try:
            self._generator.forward()
        finally:
            rows, broken = masks.result() if masks is not None else (None, {})
        events = self._generator.sample(rows)
        told = self._accept(events, broken)
        self.steps += 1
        self.last_step, self.last_step_at = time.monotonic(), time.time()
        if told:
            self._deliver(told)
        return True

    def _fill(self, wanted: Sequence[Key]) -> tuple[Masks, dict[Key, Exception]]:
        """The masks of the sequences that are sampled under one; runs on a thread of its own beside forward."""
        rows: Masks = np.zeros((len(wanted), self._words), np.uint32)
        broken: dict[Key, Exception] = {}
        for row, key in zip(rows, wanted, strict=True):
            try:
                self._constraints[key].mask_into(row)
                if not row.any():
                    raise Unavailable("the structure that was asked for leaves no token to continue with")
            except Exception as error:
                row[:] = 0xFFFFFFFF  # any token: it is not told to anybody
                broken[key] = error
        return rows, broken

    def _accept(self, events: Sequence[TokenEvent], broken: Mapping[Key, Exception]) -> list[TokenEvent | Failure]:
        told: list[TokenEvent | Failure] = []
        for event in events:
            key = (event.request, event.index)
            error = broken.get(key)
            constraint = self._constraints.get(key)
            if error is None and constraint is not None and event.finish is None and event.token is not None:
                error = _try_accept(constraint, event.token)
            if event.finish is not None or error is not None:
                self._constraints.pop(key, None)
            if error is not None:
                self._generator.cancel(*key)
            told.append(event if error is None else Failure(error, *key))
        return told

    def _fail(self, error: Exception, for_good: bool) -> None:
        """Ends every request by the error that a step ended by."""
        self._logger.error("a step failed", error=repr(error), exc_info=error)
        with self._adding:
            self._constraints.clear()
        if for_good:
            self.failed = error
        self._deliver([Failure(error)])


def _try_accept(constraint: Constraint, token: int) -> Exception | None:
    try:
        constraint.accept(token)
    except Exception as error:
        return error
    return None
