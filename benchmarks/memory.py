"""What the engine's memory costs and holds: python -m benchmarks.memory [PART ...] [--models FOLDER]

Parts, all by default:
  blocks    a block from the pool against malloc (as it is, and with raised thresholds) and against the system
  run       a model on the pool against the same on malloc, end to end
  churn     fragmentation while models come and go, before and after weights were moved together
  requests  resident memory after 1,000 and after 10,000 requests of many shapes
  cycles    resident memory over 50 times loading and unloading
  peaks     the largest resident memory of loading and running each model, against ONNX Runtime, in fresh processes
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.limits.__main__ import build
from benchmarks.memory_arms import ARMS, time_arm
from tests.conformance import light_models, small_models
from tests.conformance.inputs import feeds_for
from tests.engine.memory_models import wide_linear

RESULTS = Path(__file__).parent / "results"
LIGHT = ("squeezenet", "shufflenet", "resnet50")


def resident(field: str = "VmRSS") -> int:
    """Bytes; "VmHWM" for the most there ever was."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) << 10


def blocks() -> list[dict[str, Any]]:
    program = str(build("allocators"))
    rows: list[dict[str, Any]] = []
    for arguments in ([], ["--raised"]):
        text = subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout
        found = [json.loads(line) for line in text.splitlines()]
        for row in found:
            same = [old for old in rows if old["table"] == row["table"] and old.get("bytes") == row.get("bytes")]
            if arguments and same:
                same[0].update({key: value for key, value in row.items() if key.startswith("raised")})
            else:
                rows.append(row)
    print(f"{'bytes':>10} {'ours ns':>9} {'malloc':>9} {'raised':>9} | touched: {'ours':>11} {'malloc':>11} "
          f"{'raised':>11} {'system':>11} {'system/ours':>12}")  # fmt: skip
    for row in rows:
        if row["table"] == "sizes":
            # The system's price is that of backed memory; ours is backed already, whether it is touched or not.
            times = row["system_touched_ns"] / row["ours_ns"]
            print(f"{row['bytes']:>10} {row['ours_ns']:>9.1f} {row['malloc_ns']:>9.1f} {row['raised_ns']:>9.1f} | "
                  f"{'':<9}{row['ours_touched_ns']:>11.0f} {row['malloc_touched_ns']:>11.0f} "
                  f"{row['raised_touched_ns']:>11.0f} {row['system_touched_ns']:>11.0f} {times:>12.0f}")  # fmt: skip
        else:
            print(row)
    return rows


def run(models: Path | None) -> list[dict[str, Any]]:
    """Each arm in a process of its own, in turns; the median of five."""
    rows = []
    for name, model in _models(models, ("squeezenet", "mobilenet_v2", "resnet50", "bert_base")):
        times: dict[str, list[float]] = {arm: [] for arm in ARMS}
        for _ in range(5):
            for arm in ARMS:
                times[arm].append(time_arm(arm, model))
        row: dict[str, Any] = {"model": name, **{arm: statistics.median(all_) for arm, all_ in times.items()}}
        rows.append(row)
        print(f"{name:<24} " + "  ".join(f"{arm} {1e3 * row[arm]:.3f} ms" for arm in ARMS)
              + f"  malloc/pool {row['malloc'] / row['pool']:.2f}, raised/pool {row['raised'] / row['pool']:.2f}",
              flush=True)  # fmt: skip
    return rows


def churn() -> dict[str, Any]:
    import ziggurat

    generator = random.Random(1)
    engine = ziggurat.Engine(threads=1, purge_after=0)
    models: list[ziggurat.Model] = []
    before: list[float] = []
    after: list[float] = []
    moved = 0
    for turn in range(300):
        shape = generator.randrange(64, 1200), generator.randrange(64, 800)
        models.append(ziggurat.load(wide_linear(*shape, seed=turn), engine=engine))
        while len(models) > 20:
            models.pop(generator.randrange(len(models))).close()
        if turn % 10 == 9:
            before.append(_weights(engine)["fragmentation"])
            report = engine.defragment()
            moved += report["moved"]
            after.append(_weights(engine)["fragmentation"])
    weights = _weights(engine)
    found = {"before": statistics.mean(before), "most_before": max(before), "after": statistics.mean(after)}
    found |= {"most_after": max(after), "moved": moved, "reserved": weights["reserved"], "used": weights["used"]}
    print(f"fragmentation before {found['before']:.0%} (most {found['most_before']:.0%}), after {found['after']:.0%} "
          f"(most {found['most_after']:.0%}); {moved >> 20} MiB moved in 30 turns, {found['reserved'] >> 20} MiB held "
          f"for {found['used'] >> 20} MiB in use")  # fmt: skip
    engine.close()
    return found


def _weights(engine: Any) -> dict[str, Any]:
    return next(pool for pool in engine.pools() if pool["pool"] == "weights")


def requests() -> dict[str, Any]:
    import ziggurat

    model_bytes = small_models.MAKERS["encoder"]()
    engine = ziggurat.Engine(threads=2)
    model = ziggurat.load(model_bytes, engine=engine)
    feeds = [feeds_for(model_bytes, batch, sequence) for batch in (1, 2, 3, 8) for sequence in (5, 17, 40, 96)]
    generator = random.Random(2)
    found = {}
    for count in range(1, 10001):
        model.run(generator.choice(feeds))
        if count in (1000, 10000):
            gc.collect()
            found[str(count)] = resident()
    hits = {pool["pool"]: pool["hits"] / max(1, pool["hits"] + pool["misses"]) for pool in engine.pools()}
    found["growth"] = found["10000"] - found["1000"]
    print(f"resident after 1,000 requests {found['1000'] / 1e6:.1f} MB, after 10,000 {found['10000'] / 1e6:.1f} MB: "
          f"{found['growth'] / 1e6:+.2f} MB; hit ratios {({k: round(v, 5) for k, v in hits.items()})}")  # fmt: skip
    return found | {"hits": hits}


def cycles(models: Path | None) -> dict[str, Any]:
    import ziggurat

    found: dict[str, Any] = {}
    for name, path in _models(models, ("mobilenet_v2", "squeezenet")):
        engine = ziggurat.Engine(threads=2)
        feeds = _feeds(path)
        sizes = []
        for _ in range(51):
            with ziggurat.load(path, engine=engine) as model:
                model.run(feeds)
            del model
            gc.collect()
            sizes.append(resident())
        change = sizes[-1] / sizes[0] - 1
        found[name] = {"first": sizes[0], "last": sizes[-1], "change": change}
        print(f"{name:<24} after 1 cycle {sizes[0] / 1e6:.1f} MB, after 51 {sizes[-1] / 1e6:.1f} MB: {change:+.1%}")
        engine.close()
    return found


def peaks(models: Path | None) -> list[dict[str, Any]]:
    rows = []
    names = [path.stem for path in sorted(models.glob("*.onnx"))] if models else LIGHT
    for name, path in _models(models, names):
        row: dict[str, Any] = {"model": name}
        for engine in ("ziggurat", "onnxruntime"):
            command = [sys.executable, "-m", "benchmarks.memory_arms", engine, str(path)]
            row[engine] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        row["ratio"] = row["ziggurat"] / row["onnxruntime"]
        rows.append(row)
        print(f"{name:<24} ziggurat {row['ziggurat'] / 1e6:>7.0f} MB  onnxruntime {row['onnxruntime'] / 1e6:>7.0f} MB  "
              f"{row['ratio']:.2f}", flush=True)  # fmt: skip
    return rows


def _models(folder: Path | None, names: Any) -> list[tuple[str, Path]]:
    """Files of the folder by name; without one, the light models, written to a temporary folder."""
    if folder is not None:
        found = [(name, folder / f"{name}.onnx") for name in names if (folder / f"{name}.onnx").exists()]
        there = {name for name, _ in found}
        light = [(name, folder / f"light_{name}.onnx") for name in names if name not in there]
        return found + [(name, path) for name, path in light if path.exists()]
    scratch = Path(tempfile.mkdtemp(prefix="ziggurat-memory-"))
    for name in LIGHT:
        (scratch / f"{name}.onnx").write_bytes(light_models.make(name))
    return [(name, scratch / f"{name}.onnx") for name in LIGHT if name in names]


def _feeds(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    return feeds_for(path.read_bytes(), 1, sequence=128)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="default: all")
    parser.add_argument("--models", type=Path, help="a folder of .onnx files; default: light models")
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], Any]] = {
        "blocks": blocks,
        "run": lambda: run(arguments.models),
        "churn": churn,
        "requests": requests,
        "cycles": lambda: cycles(arguments.models),
        "peaks": lambda: peaks(arguments.models),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in arguments.parts or parts:
        print(f"-- {name}", flush=True)
        begin = time.perf_counter()
        found = parts[name]()
        (RESULTS / f"memory_{name}.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
        print(f"   ({time.perf_counter() - begin:.0f} s)")


if __name__ == "__main__":
    main()
