"""One engine with one model in a process of its own, for benchmarks/memory.py: its times, or its largest memory.

As a program: python -m benchmarks.memory_arms ziggurat|onnxruntime MODEL prints the peak of loading and three runs, in
bytes.
"""

from __future__ import annotations

import ctypes
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# The pool; malloc as the C library has it; malloc that keeps large blocks.
ARMS = ("pool", "malloc", "raised")
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # mallopt's names for them


def time_arm(arm: str, model: Path) -> float:
    """Seconds of one run, the median of what 1.5 seconds hold after warming up."""
    command = [sys.executable, "-m", "benchmarks.memory_arms", arm, str(model)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _feeds(specs: list[tuple[str, Any, bool]]) -> dict[str, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    feeds: dict[str, Any] = {}
    for name, dims, integer in specs:
        shape = [dim if isinstance(dim, int) else (1 if axis == 0 else 128) for axis, dim in enumerate(dims)]
        normal = rng.standard_normal(shape).astype(np.float32)
        feeds[name] = (normal > 0).astype(np.int64) if integer else normal
    return feeds


def _run_ziggurat(path: str, pooled: bool) -> Any:
    import ziggurat

    engine = ziggurat.Engine(threads=2)
    if not pooled:
        engine._core = ziggurat._native.Engine(2, 0, None, pooled=False)  # type: ignore[attr-defined]
    model = ziggurat.load(path, engine=engine)
    feeds = _feeds([(spec.name, spec.shape, "int" in spec.dtype) for spec in model.inputs])
    return lambda: model.run(feeds)


def _run_onnxruntime(path: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = _feeds([(one.name, one.shape, "int" in one.type) for one in session.get_inputs()])
    return lambda: session.run(None, feeds)


def _median(run: Any, seconds: float = 1.5) -> float:
    for _ in range(5):
        run()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    what, path = sys.argv[1:]
    if what == "raised":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
    run = _run_onnxruntime(path) if what == "onnxruntime" else _run_ziggurat(path, what in ("pool", "ziggurat"))
    if what in ARMS:
        print(_median(run))
        return
    for _ in range(3):
        run()
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    print(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) << 10)


if __name__ == "__main__":
    main()
