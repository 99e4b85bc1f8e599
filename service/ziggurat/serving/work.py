"""One request on its way through a model: what a protocol brings, and what it gets back."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from ziggurat.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ziggurat.engine import CancelToken, Model

Result = TypeVar("Result")
Answer = TypeVar("Answer", covariant=True)


class Work(Protocol[Answer]):
    """A protocol's request. `read` and `write` are called once each, on the event loop or on a thread."""

    deadline: float | None  # on the clock of time.monotonic(); read() may bring it forward
    priority: int  # lower numbers come first in a queue (admission.DEFAULT_PRIORITY)
    light: bool  # reading it takes far less than a millisecond

    def read(self, model: Model) -> Mapping[str, Any]:
        """The feeds, checked one by one against what the model takes."""

    def write(self, arrays: dict[str, Any]) -> Answer:
        """The answer, from all outputs of the model."""


@dataclass(slots=True)
class Done(Generic[Result]):
    """A result, or why there is none, and where the time went, in seconds."""

    queue_seconds: float = 0.0
    input_seconds: float = 0.0
    compute_seconds: float = 0.0
    output_seconds: float = 0.0
    cpu_seconds: float = 0.0  # of the thread that did the job: unlike the others, without what other threads took
    rows: int = 1
    result: Result | None = None
    error: Exception | None = field(default=None)

    @property
    def job_seconds(self) -> float:
        return self.input_seconds + self.compute_seconds + self.output_seconds

    def get(self) -> Result:
        if self.error is not None:
            raise self.error
        return cast("Result", self.result)


@dataclass(slots=True)
class Turn:
    """A request's time on a thread. A job reads its input, calls `run` and writes its answer, all in one go."""

    model: Model
    cancel: CancelToken
    deadline: float | None
    hold: float = math.inf  # seconds that the run may take, whatever the deadline
    began: float = 0.0  # the run; 0: not yet
    ended: float = 0.0

    def run(self, feeds: Mapping[str, Any], outputs: list[str] | None = None) -> dict[str, Any]:
        self.began = time.monotonic()
        if self.deadline is not None and self.began >= self.deadline:
            self.ended = self.began
            raise DeadlineExceeded("the deadline passed before the model ran")
        deadline = self.deadline
        if self.hold < math.inf:
            deadline = min(self.began + self.hold, deadline or math.inf)
        try:
            return self.model.run(feeds, outputs, deadline=deadline, cancel=self.cancel)
        finally:
            self.ended = time.monotonic()


def attempt(job: Callable[[Turn], Result], turn: Turn, done: Done[Result]) -> None:
    """Does a job and fills in `done`; raises nothing."""
    begin, cpu = time.monotonic(), time.thread_time()
    try:
        done.result = job(turn)
    except Exception as error:
        done.error = error
    end = time.monotonic()
    done.cpu_seconds = time.thread_time() - cpu
    began, ended = turn.began or end, turn.ended or end
    done.input_seconds += began - begin
    done.compute_seconds = ended - began
    done.output_seconds = end - ended


def job_of(work: Work[Result]) -> Callable[[Turn], Result]:
    """A request computed alone."""

    def job(turn: Turn) -> Result:
        feeds = work.read(turn.model)
        turn.deadline = work.deadline
        return work.write(turn.run(feeds))

    return job
