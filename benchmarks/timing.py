"""Times engines side by side: each in a process of its own, in alternating blocks (A B A B ...)."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

Feeds = dict[str, np.ndarray]
Run = Callable[[Feeds], list[np.ndarray]]
Loader = Callable[[bytes, int], Run]

BLOCKS = 5
PAUSE = 0.05  # seconds between blocks: longer than workers spin


def load_ziggurat(model: bytes, threads: int, disabled: tuple[str, ...] = ()) -> Run:
    import ziggurat

    loaded = ziggurat.load(model, engine=ziggurat.Engine(threads=threads), disabled_passes=disabled)
    return lambda feeds: list(loaded.run(feeds).values())


def load_unfused(model: bytes, threads: int) -> Run:
    return load_ziggurat(model, threads, ("fuse_elementwise",))


def load_onnxruntime(model: bytes, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(None, feeds)


LOADERS: dict[str, Loader] = {
    "ziggurat": load_ziggurat,
    "unfused": load_unfused,
    "onnxruntime": load_onnxruntime,
}


@dataclass(frozen=True)
class Timing:
    """Seconds of one run: the median of the blocks' medians, the fastest and the slowest block."""

    median: float
    low: float
    high: float


def _work(engine: str, model: bytes, threads: int, feeds: Feeds, pipe: Connection) -> None:
    try:
        run = LOADERS[engine](model, threads)
        run(feeds)
        pipe.send(None)
        while (seconds := pipe.recv()) is not None:
            run(feeds)
            times, end = [], time.perf_counter() + seconds
            while not times or time.perf_counter() < end:
                start = time.perf_counter()
                run(feeds)
                times.append(time.perf_counter() - start)
            pipe.send(statistics.median(times))
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


class Worker:
    """One engine with one model loaded, in a process of its own. `failure` says why it cannot run, or is None."""

    def __init__(self, engine: str, model: bytes, threads: int, feeds: Feeds) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(engine, model, threads, feeds, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.failure = self._answer()

    def _answer(self) -> Any:
        try:
            return self.pipe.recv()
        except EOFError:
            self.process.join()
            return f"ended with exit code {self.process.exitcode}"

    def time(self, seconds: float) -> float | str:
        self.pipe.send(seconds)
        return self._answer()

    def close(self) -> None:
        self.process.kill()
        self.process.join()


def compare(engines: list[str], model: bytes, threads: int, feeds: Feeds, seconds: float) -> dict[str, Timing | str]:
    """Each engine's timing, or why it has none. `seconds` is what each gets, over all blocks."""
    workers = {engine: Worker(engine, model, threads, feeds) for engine in engines}
    blocks: dict[str, list[float]] = {engine: [] for engine in engines}
    for _ in range(BLOCKS):
        for engine, worker in workers.items():
            if worker.failure is None:
                answer = worker.time(seconds / BLOCKS)
                if isinstance(answer, str):
                    worker.failure = answer
                else:
                    blocks[engine].append(answer)
                time.sleep(PAUSE)
    result: dict[str, Timing | str] = {}
    for engine, worker in workers.items():
        worker.close()
        times = blocks[engine]
        result[engine] = worker.failure or Timing(statistics.median(times), min(times), max(times))
    return result
