"""One engine with one model in a process of its own, for benchmarks/memory.py: its times, or its largest memory.

As a program: python -m benchmarks.memory_arms ziggurat|onnxruntime MODEL prints the peak of loading and three runs, in
bytes; with an arm's name instead, seconds and page faults of a run as JSON.
"""

from __future__ import annotations

import ctypes
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# What is behind blocks: the pool; malloc as the C library has it; malloc that keeps large blocks; the system itself.
ARMS = ("pool", "malloc", "raised", "system")
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # mallopt's names for them


def time_arm(arm: str, model: Path, seconds: float = 0.7) -> dict[str, float]:
    """Of one run, the median of what the seconds hold after warming up: `seconds`, `p99`, and page `faults`."""
    command = [sys.executable, "-m", "benchmarks.memory_arms", arm, str(model), str(seconds)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _feeds(specs: list[tuple[str, Any, bool]]) -> dict[str, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    feeds: dict[str, Any] = {}
    for name, dims, integer in specs:
        shape = [dim if isinstance(dim, int) else (1 if axis == 0 else 128) for axis, dim in enumerate(dims)]
        normal = rng.standard_normal(shape).astype(np.float32)
        feeds[name] = (normal > 0).astype(np.int64) if integer else normal
    return feeds


def _run_ziggurat(path: str, backing: str) -> Any:
    import ziggurat

    engine = ziggurat.Engine(threads=2)
    if backing != "pool":
        engine._core = ziggurat._native.Engine(2, 0, None, backing=backing)  # type: ignore[attr-defined]
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


def _measure(run: Any, seconds: float) -> dict[str, float]:
    for _ in range(5):
        run()
    times: list[float] = []
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    p99 = sorted(times)[len(times) * 99 // 100]
    return {"seconds": statistics.median(times), "p99": p99, "faults": faults / len(times)}


def main() -> None:
    what, path, *seconds = sys.argv[1:]
    if what == "raised":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
    backing = {"malloc": "malloc", "raised": "malloc", "system": "system"}.get(what, "pool")
    run = _run_onnxruntime(path) if what == "onnxruntime" else _run_ziggurat(path, backing)
    if what in ARMS:
        print(json.dumps(_measure(run, float(seconds[0]))))
        return
    for _ in range(3):
        run()
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    print(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) << 10)


if __name__ == "__main__":
    main()
