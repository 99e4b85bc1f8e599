from __future__ import annotations

import asyncio
import time

import pytest

from ziggurat.errors import DeadlineExceeded, Overloaded
from ziggurat.serving.admission import Admission


def test_permits_are_handed_on_in_the_order_of_arrival() -> None:
    async def scene() -> list[int]:
        admission, order = Admission(1, 10), []
        await admission.acquire(None)

        async def guest(number: int) -> None:
            await admission.acquire(None)
            order.append(number)
            admission.release(0.0)

        guests = [asyncio.ensure_future(guest(number)) for number in range(5)]
        await asyncio.sleep(0)
        assert (admission.running, admission.waiting) == (1, 5)
        admission.release(0.0)
        await asyncio.gather(*guests)
        assert (admission.running, admission.waiting) == (0, 0)
        return order

    assert asyncio.run(scene()) == [0, 1, 2, 3, 4]


def test_lower_priorities_come_first_and_equal_ones_in_order_of_arrival() -> None:
    async def scene() -> list[str]:
        admission = Admission(1, 10)
        await admission.acquire(None)
        order: list[str] = []

        async def ask(name: str, priority: int) -> None:
            await admission.acquire(None, priority=priority)
            order.append(name)
            admission.release(0.0)

        wishes = (("first", 100), ("urgent", 1), ("second", 100), ("late", 101), ("urgent too", 1), ("soon", 99))
        pending = [asyncio.ensure_future(ask(*wish)) for wish in wishes]
        await asyncio.sleep(0)
        admission.release(0.0)
        await asyncio.gather(*pending)
        assert admission.running == 0
        return order

    assert asyncio.run(scene()) == ["urgent", "urgent too", "soon", "first", "second", "late"]


def test_a_full_queue_refuses_and_tells_when_to_return() -> None:
    async def scene() -> None:
        admission = Admission(1, 0)
        admission.check()
        await admission.acquire(None)
        with pytest.raises(Overloaded) as caught:
            await admission.acquire(None)
        assert caught.value.retry_after == 1
        for _ in range(100):  # turns of a minute each
            admission.release(60.0)
            await admission.acquire(None)
        with pytest.raises(Overloaded) as caught:
            admission.check()
        assert caught.value.retry_after == 60

    asyncio.run(scene())


def test_a_deadline_ends_the_wait_and_leaves_the_line() -> None:
    async def scene() -> None:
        admission = Admission(1, 5)
        await admission.acquire(None)
        for seconds in (0.02, -1.0):
            with pytest.raises(DeadlineExceeded, match="in the queue"):
                await admission.acquire(time.monotonic() + seconds)
        assert admission.waiting == 0
        admission.release(0.0)
        assert admission.running == 0

    asyncio.run(scene())


@pytest.mark.parametrize("release_first", [True, False])
def test_a_permit_that_meets_a_cancellation_is_not_lost(release_first: bool) -> None:
    async def scene() -> None:
        admission = Admission(1, 5)
        await admission.acquire(None)
        leaver = asyncio.ensure_future(admission.acquire(None))
        heir = asyncio.ensure_future(admission.acquire(None))
        await asyncio.sleep(0)
        steps = [lambda: admission.release(0.0), leaver.cancel]
        for step in steps if release_first else reversed(steps):
            step()
        await asyncio.wait([leaver, heir])
        assert leaver.cancelled() and heir.done() and heir.exception() is None
        assert (admission.running, admission.waiting) == (1, 0)

    asyncio.run(scene())
