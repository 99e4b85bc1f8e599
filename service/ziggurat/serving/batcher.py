"""Requests that share a run: an object in front of one model, on the event loop.

Rows of the model are proved independent, and the engine's bits do not depend on the batch: whoever shares a run gets
the answer that it would have got alone. A run begins as soon as the one before it has ended, with all that wait. Only
where there were several clients lately does the first of them wait for the others, `max_queue_delay` at most.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ziggurat.errors import Cancelled, DeadlineExceeded, InvalidArgument, Overloaded, ZigguratError
from ziggurat.serving.admission import DEFAULT_PRIORITY
from ziggurat.serving.work import Done, Turn, Work, attempt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from ziggurat.engine import Batching, CancelToken, Model

MAX_SHARED_BYTES = 4096  # of inputs that are the same for all rows: they must be equal, so they are compared


@dataclass(eq=False)
class Item:
    """One request that waits or runs."""

    work: Work[Any]
    feeds: Mapping[str, Any]
    rows: int
    key: tuple[object, ...]  # requests with the same key may share a run
    arrived: float
    answer: asyncio.Future[None]
    done: Done[Any] = field(default_factory=Done)
    batch: Batch | None = None

    def compute(self, turn: Turn) -> Any:
        return self.work.write(turn.run(self.feeds))

    def end(self, error: Exception | None = None) -> None:
        if not self.answer.done():
            self.done.error = error or self.done.error
            self.answer.set_result(None)


class Batch:
    """Requests that share a run, which stops when all of them have left."""

    def __init__(self, items: list[Item], cancel: CancelToken) -> None:
        self.items = items
        self.cancel = cancel
        self.rows = sum(item.rows for item in items)
        deadlines = [item.work.deadline for item in items]
        self.deadline = None if None in deadlines else max(one for one in deadlines if one is not None)
        self.input_seconds = self.compute_seconds = 0.0
        self._left = len(items)
        for item in items:
            item.batch = self

    def leave(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.cancel.cancel()


class Batcher:
    """`run` takes a permit, calls its argument on a thread, and gives the permit back."""

    def __init__(
        self,
        model: Model,
        batching: Batching,
        max_rows: int,
        delay: float,
        queue: int,
        run: Callable[[Callable[[], Batch | None], Callable[[Batch], None]], Awaitable[None]],
        new_cancel: Callable[[], CancelToken],
    ) -> None:
        self._model = model
        self._inputs = list(zip((spec.name for spec in model.inputs), batching.input_axes, strict=True))
        self._outputs = list(zip((spec.name for spec in model.outputs), batching.output_axes, strict=True))
        self._max_rows = max_rows
        self._delay = delay
        self._queue = queue
        self._run = run
        self._new_cancel = new_cancel
        self._waiting: list[Item] = []  # by priority, then by arrival
        self._pump: asyncio.Task[None] | None = None
        self._running: Batch | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._solo = 0
        self._peers = 1.0  # how many requests there were at once lately, running and waiting
        self._vain = self._skip = 0  # waits in vain in a row; runs that begin without one, the more the longer it goes
        self._run_seconds = 0.0

    @property
    def idle(self) -> bool:
        """Whether nobody waits or runs here."""
        return self._pump is None

    @property
    def alone(self) -> bool:
        """Whether a request that comes now has nobody to share a run with, now or by what was seen lately."""
        return self._pump is None and self._solo == 0 and self._peers < 1.5

    @contextmanager
    def solo(self) -> Iterator[None]:
        """A run of a request that was alone: it goes its own way, which is shorter, and whoever comes meanwhile is told
        apart from one who comes after it."""
        self._solo += 1
        try:
            yield
        finally:
            self._solo -= 1

    @property
    def priority(self) -> int:
        """Of the most urgent that wait."""
        return self._waiting[0].work.priority if self._waiting else DEFAULT_PRIORITY

    def check(self) -> None:
        """Raises Overloaded where submit would."""
        if len(self._waiting) >= self._queue:
            text = f"{len(self._waiting)} requests wait to share a run of this model, which is the limit"
            turns = len(self._waiting) / self._max_rows + 1
            raise Overloaded(text, retry_after=math.ceil(min(max(turns * self._run_seconds, 1.0), 60.0)))

    def item(self, work: Work[Any], feeds: Mapping[str, Any]) -> Item:
        """Raises InvalidArgument where inputs differ in their number of rows."""
        rows, key = self._shape(feeds)
        return Item(work, feeds, rows, key, time.monotonic(), asyncio.get_running_loop().create_future())

    async def submit(self, item: Item) -> Done[Any]:
        """Waits until the request has its answer. Cancelling leaves the queue, or the run."""
        self.check()
        if self._solo:
            self._peers = max(self._peers, 1.0 + self._solo)
        loop = asyncio.get_running_loop()
        bisect.insort(self._waiting, item, key=lambda one: one.work.priority)
        if self._pump is None:
            self._pump = loop.create_task(self._work())
        elif self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
        deadline = item.work.deadline
        timer = None if deadline is None else loop.call_later(deadline - time.monotonic(), self._expire, item)
        try:
            await item.answer
        except asyncio.CancelledError:
            self._drop(item)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        return item.done

    def _expire(self, item: Item) -> None:
        if not item.answer.done():
            item.end(DeadlineExceeded("the deadline passed before the shared run was over"))
            self._drop(item)

    def _drop(self, item: Item) -> None:
        if item.batch is not None:
            item.batch.leave()
        elif item in self._waiting:
            self._waiting.remove(item)

    def _shape(self, feeds: Mapping[str, Any]) -> tuple[int, tuple[object, ...]]:
        rows, key = -1, []
        for name, axis in self._inputs:
            array = feeds.get(name)
            if not isinstance(array, np.ndarray) or axis >= array.ndim:
                raise InvalidArgument("is missing or has no rows", tensor=name)
            if axis < 0:
                key.append(array.tobytes() if array.nbytes <= MAX_SHARED_BYTES and array.dtype != object else object())
                continue
            if rows not in (-1, array.shape[axis]):
                raise InvalidArgument(f"has {array.shape[axis]} rows, another input has {rows}", tensor=name)
            rows = array.shape[axis]
            key.append((array.shape[:axis], array.shape[axis + 1 :]))
        return rows, tuple(key)

    async def _work(self) -> None:
        """Runs as long as somebody waits: one run after the other, each with all that fit."""
        error: Exception = Cancelled("the server is stopping")
        try:
            while self._waiting:
                await self._gather()
                await self._run(self._take, self._compute)
                self._finish(None)
        except Exception as caught:  # whoever waits is told, and the next request begins anew
            error = caught
        finally:
            self._pump = None
            self._finish(error)
            for item in self._waiting:
                item.end(error)
            self._waiting.clear()

    def _finish(self, error: Exception | None) -> None:
        batch, self._running = self._running, None
        if batch is not None:
            here = len(batch.items) + len(self._waiting) + self._solo
            self._peers = max(here, (self._peers + here) / 2)
        for item in batch.items if batch is not None else ():
            item.end(error)

    async def _gather(self) -> None:
        """Waits for those who were here lately: until as many are here again, or the first has waited its delay."""
        loop = asyncio.get_running_loop()
        timed_out = waited = False
        while self._waiting and not timed_out and self._expects_more():
            end = min(
                min(item.arrived for item in self._waiting) + self._delay,
                min((item.work.deadline or math.inf) for item in self._waiting) - 2 * self._run_seconds,
            )
            left = end - time.monotonic()
            if left <= 0:
                timed_out = True
                break
            self._arrival = loop.create_future()
            waited = True
            timer = loop.call_later(left, _wake, self._arrival)
            await self._arrival
            timer.cancel()
        self._arrival = None
        self._skip = max(0, self._skip - 1)
        if timed_out:
            self._peers = float(len(self._waiting))
            self._vain = min(self._vain + 1, 6)
            self._skip = 2**self._vain - 1
        elif waited:
            self._vain = 0

    def _expects_more(self) -> bool:
        if self._skip or self._delay <= 0 or len(self._waiting) >= round(self._peers):
            return False
        return sum(item.rows for item in itertools.islice(self._waiting, self._max_rows)) < self._max_rows

    def _take(self) -> Batch | None:
        """The first that waits, and all of its kind that fit beside it."""
        self._waiting = [item for item in self._waiting if not item.answer.done()]
        if not self._waiting:
            return None
        first = self._waiting[0]
        taken, left, rows = [], [], 0
        for item in self._waiting:
            if item is first or (item.key == first.key and rows + item.rows <= self._max_rows):
                taken.append(item)
                rows += item.rows
            else:
                left.append(item)
        self._waiting = left
        self._running = Batch(taken, self._new_cancel())
        return self._running

    def _compute(self, batch: Batch) -> None:
        """On a thread. A run that fails is tried request by request, so that each gets the error of its own."""
        begin = time.monotonic()
        for item in batch.items:
            item.done.queue_seconds = begin - item.arrived
            item.done.rows = item.rows
        if len(batch.items) == 1 or not self._compute_together(batch):
            for item in batch.items:
                attempt(item.compute, Turn(self._model, batch.cancel, item.work.deadline), item.done)
            batch.compute_seconds = sum(item.done.compute_seconds for item in batch.items)
        self._run_seconds = time.monotonic() - begin

    def _compute_together(self, batch: Batch) -> bool:
        turn = Turn(self._model, batch.cancel, batch.deadline)
        begin = time.monotonic()
        try:
            arrays = turn.run(self._join([item.feeds for item in batch.items]))
            parts = self._part(arrays, batch.items)
        except (ZigguratError, ValueError, MemoryError):
            return False
        batch.input_seconds, batch.compute_seconds = turn.began - begin, turn.ended - turn.began
        for item, part in zip(batch.items, parts, strict=True):
            item.done.input_seconds += batch.input_seconds
            item.done.compute_seconds = batch.compute_seconds
            start = time.monotonic()
            try:
                item.done.result = item.work.write(part)
            except Exception as error:
                item.done.error = error
            item.done.output_seconds = time.monotonic() - start
        return True

    def _join(self, feeds: list[Mapping[str, Any]]) -> dict[str, Any]:
        return {
            name: feeds[0][name] if axis < 0 else np.concatenate([one[name] for one in feeds], axis)
            for name, axis in self._inputs
        }

    def _part(self, arrays: dict[str, Any], items: list[Item]) -> list[dict[str, Any]]:
        """Each request's rows: views, which along the first axis are dense."""
        ends = list(itertools.accumulate(item.rows for item in items))
        for name, axis in self._outputs:
            if arrays[name].shape[axis] != ends[-1]:
                raise ValueError(f"output '{name}' has {arrays[name].shape[axis]} rows for {ends[-1]} of input")
        return [
            {name: arrays[name][(slice(None),) * axis + (slice(end - item.rows, end),)] for name, axis in self._outputs}
            for item, end in zip(items, ends, strict=True)
        ]


def _wake(arrival: asyncio.Future[None]) -> None:
    if not arrival.done():
        arrival.set_result(None)
