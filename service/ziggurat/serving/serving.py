"""The one object that protocols talk to: finds a model, waits for a turn, computes on a thread, stops in good order."""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from ziggurat.errors import DeadlineExceeded, Unavailable, ZigguratError
from ziggurat.serving.admission import DEFAULT_PRIORITY, Admission
from ziggurat.serving.batcher import Batch, Batcher
from ziggurat.serving.registry import Entry, Registry, State
from ziggurat.serving.work import Done, Turn, Work, attempt, job_of

if TYPE_CHECKING:
    from ziggurat.engine import CancelToken
    from ziggurat.serving.entry import TextService

__all__ = ["Done", "Serving", "Turn", "Work"]

Result = TypeVar("Result")

# Handing a job to a thread and back costs some 200 µs, and many times that where threads contend for the interpreter.
# A job that takes less is done sooner on the event loop itself, which it may hold up for at most HOLD_SECONDS: a run
# that is not over by then is begun again on a thread.
QUICK_SECONDS = 400e-6
HOLD_SECONDS = 2e-3


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
        self.last_progress = time.monotonic()
        self._running: set[CancelToken] = set()
        self.on_batch: Callable[[str, str, int], None] = lambda name, version, rows: None  # told of each shared run
        self._threads = ThreadPoolExecutor(admission.permits, thread_name_prefix="infer")

    def live(self) -> bool:
        """False only when work is pending and nothing has begun or finished for too long."""
        if any(not language.live(self._hang_seconds) for language in self.languages()):
            return False
        return self.admission.running == 0 or time.monotonic() - self.last_progress < self._hang_seconds

    def languages(self) -> list[TextService]:
        """Every language model that is loaded."""
        loaded = (entry.status.language for entry in self.registry.entries())
        return [language for language in loaded if language is not None]

    def ready(self) -> bool:
        """What was there at the start has been tried, the required models are ready, and so is at least one."""
        entries = self.registry.entries()
        ready = {entry.name for entry in entries if entry.status.state is State.READY}
        required = {*self._required, *(entry.name for entry in entries if entry.config.required)}
        usable = bool(ready) or all(entry.dismissed for entry in entries)
        return not self.draining and not self.registry.starting() and usable and ready.issuperset(required)

    def infer_here(self, entry: Entry, work: Work[Result]) -> Done[Result] | None:
        """Computes at once, on the caller's thread, where the model has shown to be quick; None where it is not so, or
        where it turned out to take long: then use infer(). For work that is light."""
        batcher = entry.batcher
        if entry.seconds > QUICK_SECONDS or (batcher is not None and not batcher.idle):
            return None
        turn = Turn(entry.ready_model(), self._new_cancel(), work.deadline, HOLD_SECONDS)
        done: Done[Result] = Done()
        attempt(job_of(work), turn, done)
        if isinstance(done.error, DeadlineExceeded) and time.monotonic() < (work.deadline or math.inf):
            # Held up by the model, or by other processes that had the CPU meanwhile: only the former will go on.
            entry.seconds = max(entry.seconds, 2 * QUICK_SECONDS if done.cpu_seconds > HOLD_SECONDS / 2 else 0.0)
            return None
        self._account(entry, done)
        return done

    async def infer(self, entry: Entry, work: Work[Result]) -> Done[Result]:
        """Computes when its turn comes: alone on a thread, or together with others where the model's settings allow it.
        Errors stand in the answer; cancelling this coroutine leaves the queue, or stops the run at its next step."""
        batcher = self._batcher(entry)
        if batcher is None:
            return await self.run(entry, job_of(work), work.deadline, work.priority)
        arrived = time.monotonic()
        try:
            status = entry.acquire()
        except ZigguratError as error:
            return Done(error=error)
        try:
            batcher.check()
            assert status.model is not None  # noqa: S101 - it has a batcher
            if work.light:
                feeds = work.read(status.model)
            else:
                read = functools.partial(work.read, status.model)
                feeds = await asyncio.get_running_loop().run_in_executor(self._threads, read)
            item = batcher.item(work, feeds)
            item.done.input_seconds = item.arrived - arrived
            if not batcher.alone:
                return await batcher.submit(item)
            with batcher.solo():
                done = await self.run(entry, item.compute, work.deadline, work.priority, item.rows)
            done.input_seconds += item.done.input_seconds
            self.on_batch(entry.name, entry.version, item.rows)
            return done
        except Exception as error:
            return Done(time.monotonic() - arrived, error=error)
        finally:
            entry.release()

    async def run(
        self,
        entry: Entry,
        job: Callable[[Turn], Result],
        deadline: float | None,
        priority: int = DEFAULT_PRIORITY,
        rows: int = 1,
    ) -> Done[Result]:
        """Runs `job` on a thread when its turn comes. Errors of the job stand in the answer; cancelling this coroutine
        leaves the queue, or stops the run at its next step."""
        arrived = time.monotonic()
        done: Done[Result] = Done(rows=rows)
        try:
            model = entry.ready_model()
            entry.acquire()
            try:
                await self.admission.acquire(deadline, priority=priority)
            except BaseException:
                entry.release()
                raise
        except Exception as error:
            return Done(time.monotonic() - arrived, error=error)
        begun = self.last_progress = time.monotonic()
        done.queue_seconds = begun - arrived
        turn = Turn(model, self._new_cancel(), deadline)
        self._running.add(turn.cancel)
        work = asyncio.get_running_loop().run_in_executor(self._threads, functools.partial(attempt, job, turn, done))
        work.add_done_callback(lambda _: self._finished(entry, turn, done))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            turn.cancel.cancel()
            raise
        return done

    def _finished(self, entry: Entry, turn: Turn, done: Done[Any]) -> None:
        # The permit follows the thread, not the client: a client that left frees it when its run has really ended.
        self._running.discard(turn.cancel)
        self.admission.release(done.job_seconds)
        self._account(entry, done)
        entry.release()

    def _account(self, entry: Entry, done: Done[Any]) -> None:
        self.last_progress = time.monotonic()
        entry.took(done.cpu_seconds)
        if done.error is None:
            entry.statistics.executed(done.rows, done.input_seconds, done.compute_seconds, done.output_seconds)

    def _batcher(self, entry: Entry) -> Batcher | None:
        """Made when the first request comes: whether it may be, the loaded model tells."""
        if entry.batcher is not None or not entry.config.max_batch_size or entry.batching_refused:
            return entry.batcher
        model = entry.status.model
        if model is None:
            return None
        batching = model.batching()
        if not batching.independent:
            entry.batching_refused = batching.reason
            return None
        config = entry.config
        run = functools.partial(self._run_batch, entry)
        entry.batcher = Batcher(
            model, batching, config.max_batch_size, config.max_queue_delay, self.admission.queue, run, self._new_cancel
        )
        return entry.batcher

    async def _run_batch(
        self, entry: Entry, take: Callable[[], Batch | None], compute: Callable[[Batch], None]
    ) -> None:
        priority = entry.batcher.priority if entry.batcher is not None else DEFAULT_PRIORITY
        await self.admission.acquire(None, bounded=False, priority=priority)
        seconds = 0.0
        try:
            batch = take()  # only now: whoever came while the permit was awaited is in
            if batch is None:
                return
            self.last_progress = time.monotonic()
            self._running.add(batch.cancel)
            try:
                await asyncio.get_running_loop().run_in_executor(self._threads, compute, batch)
            finally:
                self._running.discard(batch.cancel)
            seconds = time.monotonic() - self.last_progress
            self.last_progress = time.monotonic()
            output = sum(item.done.output_seconds for item in batch.items)
            entry.took(seconds)
            entry.statistics.executed(batch.rows, batch.input_seconds, batch.compute_seconds, output)
            self.on_batch(entry.name, entry.version, batch.rows)
        finally:
            self.admission.release(seconds)

    def cancel_all(self) -> None:
        """Stops every run and every generation at its next step."""
        for language in self.languages():
            language.cancel_all(Unavailable("the server is stopping"))
        for cancel in tuple(self._running):
            cancel.cancel()

    async def close(self) -> None:
        """After the last request: ends the runs that are left, then the threads, then the models."""
        self.draining = True
        self.cancel_all()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        await asyncio.to_thread(self.registry.close)
