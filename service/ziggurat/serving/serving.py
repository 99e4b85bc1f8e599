"""The one object that protocols talk to: finds a model, waits for a turn, computes on a thread, stops in good order."""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from ziggurat.errors import DeadlineExceeded
from ziggurat.serving.admission import Admission
from ziggurat.serving.registry import UNKNOWN_SECONDS, Entry, Registry, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ziggurat.engine import CancelToken, Model

Result = TypeVar("Result")

# Handing a job to a thread and back costs some 200 µs. A job that takes less than that is done sooner on the event
# loop itself, which it may hold up for at most this long: a run that is not over by then is begun again on a thread.
QUICK_SECONDS = 200e-6
HOLD_SECONDS = 2e-3


@dataclass(slots=True)
class Turn:
    """One request's time on a thread. A job reads its input, calls `run` and writes its answer, all in one go."""

    model: Model
    cancel: CancelToken
    deadline: float | None
    compute_seconds: float = 0.0

    def run(self, feeds: Mapping[str, Any], outputs: list[str] | None) -> dict[str, Any]:
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise DeadlineExceeded("the deadline passed before the model ran")
        begin = time.monotonic()
        try:
            return self.model.run(feeds, outputs, deadline=self.deadline, cancel=self.cancel)
        finally:
            self.compute_seconds += time.monotonic() - begin


@dataclass(slots=True)
class Done(Generic[Result]):
    """A job's result, or why there is none, with the time it spent waiting and computing."""

    queue_seconds: float = 0.0
    compute_seconds: float = 0.0
    job_seconds: float = 0.0
    result: Result | None = None
    error: Exception | None = field(default=None)

    def get(self) -> Result:
        if self.error is not None:
            raise self.error
        return cast("Result", self.result)


class Serving:
    """Not thread-safe but for what jobs do: all methods belong to one event loop."""

    def __init__(
        self,
        registry: Registry,
        admission: Admission,
        new_cancel: Callable[[], CancelToken],
        required: tuple[str, ...] = (),
        hang_seconds: float = 600.0,
    ) -> None:
        self.registry = registry
        self.admission = admission
        self.draining = False
        self._new_cancel = new_cancel
        self._required = required
        self._hang_seconds = hang_seconds
        self._last_progress = time.monotonic()
        self._running: set[CancelToken] = set()
        self._threads = ThreadPoolExecutor(admission.permits, thread_name_prefix="infer")

    def live(self) -> bool:
        """False only when work is pending and nothing has begun or finished for too long."""
        return self.admission.running == 0 or time.monotonic() - self._last_progress < self._hang_seconds

    def ready(self) -> bool:
        """What was there at the start has been tried, the required models are ready, and so is at least one."""
        entries = self.registry.entries()
        ready = {entry.name for entry in entries if entry.status.state is State.READY}
        required = {*self._required, *(entry.name for entry in entries if entry.config.required)}
        usable = bool(ready) or all(entry.dismissed for entry in entries)
        return not self.draining and not self.registry.starting() and usable and ready.issuperset(required)

    def run_here(self, entry: Entry, job: Callable[[Turn], Result], deadline: float | None) -> Done[Result] | None:
        """Runs `job` at once, on the caller's thread, where the model has shown to be quick and nobody else computes;
        None where it is not so, or where it turned out to take long: then use run(). For jobs of little input."""
        if entry.seconds > QUICK_SECONDS or self.admission.running:
            return None
        limit = time.monotonic() + HOLD_SECONDS
        done: Done[Result] = Done()
        _try(job, Turn(entry.ready_model(), self._new_cancel(), min(limit, deadline or limit)), done)
        entry.took(done.job_seconds)
        if isinstance(done.error, DeadlineExceeded) and limit < (deadline or math.inf):
            entry.seconds = UNKNOWN_SECONDS
            return None
        return done

    async def run(self, entry: Entry, job: Callable[[Turn], Result], deadline: float | None) -> Done[Result]:
        """Runs `job` on a thread when its turn comes. Errors of the job stand in the answer; cancelling this coroutine
        leaves the queue, or stops the run at its next step."""
        arrived = time.monotonic()
        done: Done[Result] = Done()
        try:
            model = entry.ready_model()
            await self.admission.acquire(deadline)
        except Exception as error:
            return Done(time.monotonic() - arrived, error=error)
        begun = self._last_progress = time.monotonic()
        done.queue_seconds = begun - arrived
        turn = Turn(model, self._new_cancel(), deadline)
        self._running.add(turn.cancel)
        work = asyncio.get_running_loop().run_in_executor(self._threads, functools.partial(_try, job, turn, done))
        work.add_done_callback(lambda _: self._finished(entry, turn, done))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            turn.cancel.cancel()
            raise
        return done

    def _finished(self, entry: Entry, turn: Turn, done: Done[Result]) -> None:
        # The permit follows the thread, not the client: a client that left frees it when its run has really ended.
        self._running.discard(turn.cancel)
        self._last_progress = time.monotonic()
        entry.took(done.job_seconds)
        self.admission.release(done.job_seconds)

    def cancel_all(self) -> None:
        """Stops every run at its next step."""
        for cancel in tuple(self._running):
            cancel.cancel()

    async def close(self) -> None:
        """After the last request: ends the runs that are left, then the threads, then the models."""
        self.draining = True
        self.cancel_all()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        await asyncio.to_thread(self.registry.close)


def _try(job: Callable[[Turn], Result], turn: Turn, done: Done[Result]) -> None:
    begin = time.monotonic()
    try:
        done.result = job(turn)
    except Exception as error:
        done.error = error
    done.compute_seconds = turn.compute_seconds
    done.job_seconds = time.monotonic() - begin
