"""What the engine's memory costs and holds: python -m benchmarks.memory [PART ...] [--models FOLDER]

Parts, all by default:
  blocks    a block from the pool against malloc (as it is, and with raised thresholds) and against the system
  run       models end to end on the pool, on malloc (as it is, and with raised thresholds) and on the system
  churn     fragmentation while models come and go and runs go on, before and after turns of the housekeeper
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

from benchmarks import memory_models
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


def run(models: Path | None, only: str | None = None) -> list[dict[str, Any]]:
    """Each arm in a process of its own, in turns; the median of five."""
    rows = []
    scratch = Path(tempfile.mkdtemp(prefix="ziggurat-memory-"))
    for name, maker in memory_models.MAKERS.items():
        (scratch / f"{name}.onnx").write_bytes(maker())
    found = [(name, scratch / f"{name}.onnx") for name in memory_models.MAKERS]
    found += _models(models, ("squeezenet", "shufflenet", "mobilenet_v2", "resnet50", "bert_base"))
    for name, model in found:
        if only not in (None, name):
            continue
        times: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
        for _ in range(5):
            for arm in ARMS:
                times[arm].append(time_arm(arm, model))
        row: dict[str, Any] = {"model": name}
        for arm, all_ in times.items():
            row[arm] = {key: statistics.median([one[key] for one in all_]) for key in all_[0]}
            row[arm] |= {"least": min(one["seconds"] for one in all_), "most": max(one["seconds"] for one in all_)}
        rows.append(row)
        _print_arms(row)
    return rows


def _print_arms(row: dict[str, Any]) -> None:
    print(row["model"])
    for arm in ARMS:
        one = row[arm]
        print(f"  {arm:<8} {1e3 * one['seconds']:>8.3f} ms ({1e3 * one['least']:.3f} to {1e3 * one['most']:.3f}), 99 % "
              f"{1e3 * one['p99']:.3f} ms, {one['faults']:>7.0f} faults, {one['seconds'] / row['pool']['seconds']:.2f} "
              "times the pool's", flush=True)  # fmt: skip


def churn() -> dict[str, Any]:
    """Models of mixed sizes come and go while runs go on and results live for mixed times; a turn of the housekeeper
    after every ten steps. Fragmentation of each pool before and after its turn, by the engine's own definition."""
    import ziggurat

    generator = random.Random(1)
    engine = ziggurat.Engine(threads=2, purge_after=0)
    live: list[ziggurat.Model] = []
    results: list[tuple[int, Any]] = []
    samples: list[dict[str, Any]] = []
    for step in range(400):
        outputs = int(16 * 100 ** generator.random())
        inputs = int((20 << 10) * 400 ** generator.random() / 4 / outputs) + 1  # weights of 20 KiB to 8 MiB
        live.append(ziggurat.load(wide_linear(inputs, outputs, seed=step), engine=engine))
        while len(live) > 20:
            live.pop(generator.randrange(len(live))).close()
        for _ in range(6):
            model = generator.choice(live)
            rows = int(4000 ** generator.random())
            x = np.ones((rows, model.inputs[0].shape[1]), np.float32)
            results.append((step + generator.choice((1, 1, 1, 1, 20, 150)), model.run({"x": x})["y"]))
        results = [result for result in results if result[0] > step]
        if step % 10 == 9:
            samples.append(_turn(engine))
    engine.close()
    return _churn_report(samples)


def _turn(engine: Any) -> dict[str, Any]:
    before = engine.pools()
    begin = time.perf_counter()
    engine.core.tend()
    seconds = time.perf_counter() - begin
    after = engine.pools()
    found: dict[str, Any] = {"seconds": seconds}
    for moment, pools in (("before", before), ("after", after)):
        found[moment] = {pool["pool"]: pool["fragmentation"] for pool in pools}
        found[f"largest_{moment}"] = {pool["pool"]: pool["largest_free"] for pool in pools}
        for field in ("moved", "released", "used", "reserved"):
            found[f"{field}_{moment}"] = sum(pool[field] for pool in pools)
    return found


def _churn_report(samples: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pool in samples[0]["before"]:
        row = {
            f"{what}_{moment}": by([sample[moment][pool] for sample in samples])
            for moment in ("before", "after")
            for what, by in (("mean", statistics.mean), ("most", max))
        }
        row |= {f"largest_{moment}": statistics.mean([sample[f"largest_{moment}"][pool] for sample in samples])
                for moment in ("before", "after")}  # fmt: skip
        found[pool] = row
        print(f"{pool:<8} fragmentation {row['mean_before']:>4.0%} (most {row['most_before']:.0%}) before, "
              f"{row['mean_after']:>4.0%} (most {row['most_after']:.0%}) after a turn; largest free "
              f"{row['largest_before'] / 2**20:.1f} and {row['largest_after'] / 2**20:.1f} MiB")  # fmt: skip
    last, times = samples[-1], [sample["seconds"] for sample in samples]
    found |= {"turns": len(samples), "moved": last["moved_after"], "seconds": sum(times), "longest": max(times)}
    found["held_for_used"] = statistics.mean([sample["reserved_after"] / sample["used_after"] for sample in samples])
    released = sum(sample["released_after"] - sample["released_before"] for sample in samples)
    print(f"{len(samples)} turns moved {found['moved'] / 2**20:.0f} MiB and gave {released / 2**20:.0f} MiB back in "
          f"{found['seconds'] * 1e3:.0f} ms (longest {max(times) * 1e3:.1f}); {found['held_for_used']:.2f} bytes held "
          "for one in use")  # fmt: skip
    return found | {"released": released}


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
    parser.add_argument("--only", metavar="MODEL", help="of the part run, this model alone")
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], Any]] = {
        "blocks": blocks,
        "run": lambda: run(arguments.models, arguments.only),
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
