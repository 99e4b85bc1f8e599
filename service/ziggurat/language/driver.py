"""Steps without a thread of their own: whoever waits for a token runs the next step, for all that wait."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ziggurat.errors import Internal

if TYPE_CHECKING:
    from ziggurat.engine import Generator
    from ziggurat.engine import TokenEvent as EngineEvent


class Driver:
    """One generator's steps, one at a time, by any thread. Events wait until their request's reader asks."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._lock = threading.Lock()
        self._waiting: dict[int, deque[EngineEvent]] = {}

    def add(self, prompt: Sequence[int], options: Mapping[str, Any]) -> int:
        """Queues a request; its events must be read with `next_of`, or it must be dropped."""
        with self._steps():
            request = self._generator.add(prompt, **options)
            self._waiting[request] = deque()
            return request

    def next_of(self, request: int) -> EngineEvent:
        """The request's next event; runs steps until there is one."""
        events = self._waiting[request]
        while not events:
            with self._steps():
                if not events:
                    self._step()
        return events.popleft()

    def cancel(self, request: int, index: int | None = None) -> None:
        """Ends a request or one of its sequences; takes effect before the next step."""
        self._generator.cancel(request, index)

    def drop(self, request: int) -> None:
        """Forgets a request whose events nobody wants any more."""
        if self._waiting.pop(request, None) is not None:
            self._generator.cancel(request)

    def logits(self, tokens: Sequence[int]) -> np.ndarray[Any, Any]:
        """Logits [tokens, vocab] of a sequence of its own, between two steps."""
        with self._steps():
            return self._generator.forward_logits(tokens)

    @contextmanager
    def _steps(self) -> Iterator[None]:
        """The right to step. In a forked child, where the lock may be held for ever, it raises Unavailable instead."""
        self._generator.check_process()
        with self._lock:
            yield

    def _step(self) -> None:
        if self._generator.schedule() is None:
            raise Internal("the generator has nothing to do while a request waits for a token")
        self._generator.forward()
        for event in self._generator.sample(None):
            queue = self._waiting.get(event.request)
            if queue is not None:
                queue.append(event)
