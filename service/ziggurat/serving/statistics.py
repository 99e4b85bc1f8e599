"""Counts and times of one model version, as the statistics extension of V2 tells them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ziggurat.serving.work import Done


@dataclass(slots=True)
class Duration:
    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.ns += int(seconds * 1e9)

    def document(self) -> dict[str, int]:
        return {"count": self.count, "ns": self.ns}


class Batch:
    """Runs with the same number of rows."""

    __slots__ = ("infer", "input", "output")

    def __init__(self) -> None:
        self.input, self.infer, self.output = Duration(), Duration(), Duration()

    def document(self, size: int) -> dict[str, Any]:
        return {
            "batch_size": size,
            "compute_input": self.input.document(),
            "compute_infer": self.infer.document(),
            "compute_output": self.output.document(),
        }


class Statistics:
    """Belongs to the event loop."""

    def __init__(self) -> None:
        self.inferences = 0  # rows
        self.executions = 0  # runs
        self._last: float | None = None
        self._success, self._fail, self._cancel = Duration(), Duration(), Duration()
        self._queue, self._input, self._infer, self._output = Duration(), Duration(), Duration(), Duration()
        self._batches: dict[int, Batch] = {}

    def succeeded(self, seconds: float, done: Done[Any]) -> None:
        """One request that got its answer after so many seconds."""
        self.inferences += done.rows
        self._last = time.time()
        self._success.add(seconds)
        self._queue.add(done.queue_seconds)
        self._input.add(done.input_seconds)
        self._infer.add(done.compute_seconds)
        self._output.add(done.output_seconds)

    def failed(self, seconds: float, cancelled: bool) -> None:
        self._fail.add(seconds)
        if cancelled:
            self._cancel.add(seconds)

    def executed(self, rows: int, input_seconds: float, infer_seconds: float, output_seconds: float) -> None:
        """One run, of one request or of several that shared it."""
        self.executions += 1
        batch = self._batches.get(rows)
        if batch is None:
            batch = self._batches.setdefault(rows, Batch())
        batch.input.add(input_seconds)
        batch.infer.add(infer_seconds)
        batch.output.add(output_seconds)

    def document(self) -> dict[str, Any]:
        nothing = Duration().document()
        infer = {"compute_infer": self._infer.document(), "compute_output": self._output.document()}
        ends = {"success": self._success.document(), "fail": self._fail.document()}
        return {
            "last_inference": 0 if self._last is None else int(self._last * 1e3),
            "inference_count": self.inferences,
            "execution_count": self.executions,
            "inference_stats": {
                **ends,
                "queue": self._queue.document(),
                "compute_input": self._input.document(),
                **infer,
                "cache_hit": nothing,
                "cache_miss": nothing,
            },
            # One answer to each request: the statistics of responses know one place, the first.
            "response_stats": {"0": {**infer, **ends, "empty_response": nothing, "cancel": self._cancel.document()}},
            "batch_stats": [batch.document(size) for size, batch in sorted(self._batches.items())],
        }
