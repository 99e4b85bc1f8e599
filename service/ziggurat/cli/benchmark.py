"""`ziggurat bench`: latency, throughput and memory of a model on random inputs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import typer
from pydantic import ByteSize

import ziggurat
from ziggurat.errors import InvalidArgument

if TYPE_CHECKING:
    from ziggurat.types import TensorSpec

WARM_UP_SECONDS = 0.3  # page faults, caches and clock frequency settle


@dataclass(frozen=True)
class Shape:
    """Sizes for the dimensions that a model leaves open."""

    batch: int = 1
    seq: int = 128
    named: dict[str, int] = field(default_factory=dict)


def parse_dims(items: Sequence[str]) -> dict[str, int]:
    sizes = {}
    for item in items:
        name, _, size = item.partition("=")
        if not name or not size.isdecimal():
            raise InvalidArgument(f"--dim takes NAME=N, got '{item}'")
        sizes[name] = int(size)
    return sizes


def random_feeds(specs: Sequence[TensorSpec], shape: Shape) -> dict[str, np.ndarray[Any, Any]]:
    """The same feeds for the same model. Integers are 0 and 1: valid as token ids, masks and indices alike."""
    generator = np.random.default_rng(0)
    unknown = set(shape.named) - {name for spec in specs for name in spec.dim_names if name}
    if unknown:
        known = sorted({name for spec in specs for name in spec.dim_names if name})
        raise InvalidArgument(
            f"no dimension is called {', '.join(sorted(unknown))}: there are {', '.join(known) or 'none'}"
        )
    return {spec.name: _random(spec, extents(spec, shape), generator) for spec in specs}


def extents(spec: TensorSpec, shape: Shape) -> tuple[int, ...]:
    names = spec.dim_names or (None,) * len(spec.shape or ())
    sizes = []
    for axis, (extent, name) in enumerate(zip(spec.shape or (), names, strict=True)):
        default = shape.batch if axis == 0 else shape.seq
        sizes.append(extent if extent is not None else shape.named.get(name or "", default))
    return tuple(sizes)


def _random(spec: TensorSpec, extents: tuple[int, ...], generator: np.random.Generator) -> np.ndarray[Any, Any]:
    if spec.dtype == "string":
        return np.full(extents, b"a", object)
    dtype = np.dtype(getattr(ml_dtypes, spec.dtype, spec.dtype))
    if dtype.kind in "iub" or "int" in spec.dtype:
        return generator.integers(0, 2, extents).astype(dtype)
    return generator.standard_normal(extents).astype(dtype)


def run(path: Path, shape: Shape, seconds: float, threads: int | None, isa: str | None, as_json: bool) -> None:
    engine = ziggurat.Engine(threads=threads, isa=isa)
    begin = time.perf_counter()
    model = ziggurat.load(path, engine=engine)
    load_seconds = time.perf_counter() - begin
    feeds = random_feeds(model.inputs, shape)
    end = time.perf_counter() + WARM_UP_SECONDS
    model.run(feeds)
    while time.perf_counter() < end:
        model.run(feeds)
    times = _measure(model, feeds, seconds)
    report = _report(path, shape, feeds, times)
    report |= {"isa": engine.isa, "threads": engine.threads, "load_seconds": round(load_seconds, 4)}
    report |= {"memory": model.memory(), **_steps(model.profile(feeds))}
    typer.echo(json.dumps(report, indent=1) if as_json else _table(report))
    model.close()
    engine.close()


def _measure(model: ziggurat.Model, feeds: dict[str, np.ndarray[Any, Any]], seconds: float) -> np.ndarray[Any, Any]:
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        begin = time.perf_counter()
        model.run(feeds)
        times.append(time.perf_counter() - begin)
    return np.array(times)


def _report(
    path: Path, shape: Shape, feeds: dict[str, np.ndarray[Any, Any]], times: np.ndarray[Any, Any]
) -> dict[str, Any]:
    at = {f"p{q}": round(float(np.percentile(times, q)) * 1e3, 4) for q in (50, 90, 99)}
    return {
        "model": str(path),
        "inputs": {name: [str(array.dtype), list(array.shape)] for name, array in feeds.items()},
        "runs": len(times),
        "latency_ms": {"min": round(float(times.min()) * 1e3, 4), **at, "mean": round(float(times.mean()) * 1e3, 4)},
        "items_per_second": round(shape.batch / float(times.mean()), 2),
    }


def _steps(profile: list[dict[str, Any]]) -> dict[str, Any]:
    """What the plan achieves, and where its time goes."""
    total = sum(step["microseconds"] for step in profile) or 1e-9
    slowest = sorted(profile, key=lambda step: -step["microseconds"])[:5]
    return {
        "gflops_per_second": round(sum(step["flops"] for step in profile) / total / 1e3, 2),
        "gbytes_per_second": round(sum(step["bytes"] for step in profile) / total / 1e3, 2),
        "slowest_steps": [
            {
                "op": step["op"],
                "node": step["node"],
                "kernel": step["kernel"],
                "share": round(step["microseconds"] / total, 3),
            }
            for step in slowest
        ],
    }


def _table(report: dict[str, Any]) -> str:
    inputs = ", ".join(f"{name} {dtype}{shape}" for name, (dtype, shape) in report["inputs"].items())
    latency = ", ".join(f"{name} {value:.3f}" for name, value in report["latency_ms"].items())
    memory = ", ".join(f"{name} {ByteSize(value).human_readable()}" for name, value in report["memory"].items())
    rows = [
        ("model", f"{report['model']} (loaded in {report['load_seconds']} s)"),
        ("inputs", inputs),
        ("engine", f"{report['isa']}, {report['threads']} threads"),
        ("latency", f"{latency} ms over {report['runs']} runs"),
        ("rate", f"{report['items_per_second']} items/s"),
        ("plan", f"{report['gflops_per_second']} GFLOP/s, {report['gbytes_per_second']} GB/s"),
        ("memory", memory),
    ]
    rows += [
        ("slowest", f"{step['share']:6.1%}  {step['op']} {step['node']} ({step['kernel']})")
        for step in report["slowest_steps"]
    ]
    return "\n".join(f"{name:<8} {text}" for name, text in rows)
