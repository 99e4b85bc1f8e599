"""Engines for tests: one for each instruction set that this machine can execute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

Feeds = dict[str, np.ndarray]

# instruction set -> what /proc/cpuinfo must list. Read from the machine, not asked of the engine: an engine that
# wrongly thinks it cannot run a set must fail these tests, not skip them.
NEEDS = {
    "sse42": {"sse4_2"},
    "avx2": {"avx2", "fma", "f16c", "bmi2"},
    "avx512": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "avx512vnni": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_vnni"},
}


def instruction_sets() -> list[str]:
    flags: set[str] = set()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("flags"):
            flags = set(line.partition(":")[2].split())
            break
    return [isa for isa, needs in NEEDS.items() if needs <= flags]


ISAS = instruction_sets()


def load(model: bytes, isa: str | None = None, threads: int = 1) -> Any:
    import ziggurat

    return ziggurat.load(model, engine=ziggurat.Engine(isa=isa, threads=threads))


def onnxruntime_outputs(model: bytes, feeds: Feeds) -> Feeds:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def assert_close(actual: Feeds, expected: Feeds, bound: float = 1e-4) -> None:
    """Each output within `bound` of its largest magnitude, and not so by being constant."""
    assert actual.keys() == expected.keys()
    for name, want in expected.items():
        got = actual[name]
        assert got.shape == want.shape, name
        assert got.dtype == want.dtype, name
        largest = float(np.abs(want).max())
        assert largest > 0, f"{name} is all zero: nothing was compared"
        worst = float(np.abs(got.astype(np.float64) - want).max())
        assert worst <= bound * largest, f"{name}: off by {worst:.3g}, largest magnitude {largest:.3g}"
