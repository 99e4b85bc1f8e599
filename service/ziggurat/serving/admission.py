"""Who may compute now: a fixed number of permits and a bounded queue. Lives on one event loop."""

from __future__ import annotations

import asyncio
import bisect
import itertools
import math
import time

from ziggurat.errors import DeadlineExceeded, Overloaded

# Lower numbers come first, as Triton has it, equal ones in order of arrival; whoever says nothing has this one.
DEFAULT_PRIORITY = 100
MAX_PRIORITY = (1 << 32) - 1

Turn = tuple[int, int, "asyncio.Future[None]"]  # the priority, a number that grows, and whom it wakes


class Admission:
    def __init__(self, permits: int, queue: int) -> None:
        self.permits = permits
        self.queue = queue
        self.running = 0
        self._waiting: list[Turn] = []  # in the order in which they will get a permit
        self._numbers = itertools.count()
        self._mean_seconds = 0.0  # of a turn, recent ones weighing more; only to say when to come back

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def check(self) -> None:
        """Raises Overloaded where acquire would: lets a caller refuse before it has read a body."""
        if self.running >= self.permits and len(self._waiting) >= self.queue:
            turns = len(self._waiting) / self.permits + 1
            raise Overloaded(
                f"{self.running} requests are running and {len(self._waiting)} waiting, which is the limit",
                retry_after=math.ceil(min(max(turns * self._mean_seconds, 1.0), 60.0)),
            )

    async def acquire(self, deadline: float | None, bounded: bool = True, priority: int = DEFAULT_PRIORITY) -> None:
        """Takes a permit, waiting in line until `deadline` (monotonic seconds). Pair with release().

        `bounded` False waits even in a full queue: for who has a bounded queue of its own.
        """
        if self.running < self.permits:
            self.running += 1
            return
        if bounded:
            self.check()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (priority, next(self._numbers), turn)
        bisect.insort(self._waiting, place)
        try:
            async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # the permit arrived together with the cancellation
            elif place in self._waiting:  # _pass_on may have skipped and dropped it already
                self._waiting.remove(place)
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded(f"the deadline passed in the queue, behind {self.running} running") from None
            raise

    def release(self, seconds: float) -> None:
        """Gives the permit back after a turn of so many seconds."""
        self._mean_seconds += 0.1 * (seconds - self._mean_seconds)
        self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            _, _, turn = self._waiting.pop(0)
            if not turn.done():
                turn.set_result(None)  # running stays as it is: the permit changes hands
                return
        self.running -= 1
