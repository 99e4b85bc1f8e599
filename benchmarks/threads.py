"""What models that share an engine leave each other, and what a CPU quota costs.

    python -m benchmarks.threads [--threads N] [--seconds S] [--rounds R] [--quota CPUS] [MODEL MODEL]

Two models (files or names of benchmarks.models) run alone and at once on one engine, from one and from several client
threads each: printed is what part of its solo runs per second each keeps. Then the first model runs under a real cgroup
quota, where this process may make a group (root): runs per second against those without, and how often the kernel took
the CPUs away. Last, the CPU time that an idle engine burns. Rounds alternate; the median of each figure counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import ziggurat
from benchmarks.cgroup import Group
from benchmarks.models import MAKERS
from tests.conformance.inputs import feeds_for

Loaded = tuple[ziggurat.Model, dict[str, np.ndarray]]


def source(name: str) -> bytes:
    return MAKERS[name]() if name in MAKERS else Path(name).read_bytes()


def load(name: str, engine: ziggurat.Engine) -> Loaded:
    data = source(name)
    model, feeds = ziggurat.load(data, engine=engine), feeds_for(data, 1, sequence=128)
    model.run(feeds)
    return model, feeds


def rates(models: list[Loaded], clients: int, seconds: float) -> list[list[float]]:
    """For each model the seconds of every run that ended in time, from `clients` threads in a closed loop."""
    times: list[list[float]] = [[] for _ in models]
    start = threading.Barrier(1 + clients * len(models))
    stop = threading.Event()

    def client(index: int) -> None:
        model, feeds = models[index]
        start.wait()
        while not stop.is_set():
            begin = time.perf_counter()
            model.run(feeds)
            times[index].append(time.perf_counter() - begin)

    threads = [threading.Thread(target=client, args=(index,)) for index in range(len(models)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    start.wait()
    time.sleep(seconds)
    found = [list(one) for one in times]
    stop.set()
    for thread in threads:
        thread.join()
    return found


def sharing(names: list[str], threads: int, clients: int, seconds: float, rounds: int) -> None:
    engine = ziggurat.Engine(threads=threads)
    models = [load(name, engine) for name in names]
    kept: list[list[float]] = [[] for _ in names]
    alone: list[list[float]] = [[] for _ in names]
    for _ in range(rounds):
        solo = [len(rates([model], clients, seconds)[0]) / seconds for model in models]
        both = [len(one) / seconds for one in rates(models, clients, seconds)]
        for index in range(len(names)):
            alone[index].append(solo[index])
            kept[index].append(both[index] / solo[index])
    for index, name in enumerate(names):
        rate, part = statistics.median(alone[index]), statistics.median(kept[index])
        print(f"{clients:>7}  {Path(name).stem:<24} {rate:>10.1f} {part:>10.0%}", flush=True)


def work(name: str, threads: int | None, clients: int, seconds: float) -> dict[str, Any]:
    """What the child under a quota does."""
    engine = ziggurat.Engine(threads=threads)
    models = [load(name, engine)]
    rates(models, clients, 0.3)
    cpu, begin = time.process_time(), time.monotonic()
    times = rates(models, clients, seconds)[0]
    cpus = (time.process_time() - cpu) / (time.monotonic() - begin)
    slow = float(np.percentile(times, 99)) if times else 0.0
    return {"rate": len(times) / seconds, "p99": slow, "cpus": cpus, "reason": engine.threads_reason}


def under(name: str, group: Group | None, arguments: argparse.Namespace, clients: int, threads: int | None) -> Any:
    """`work` in a process of its own, in `group`; with the group's throttled periods per second."""
    options = [f"--seconds={arguments.seconds}", f"--clients={clients}", *([f"--threads={threads}"] if threads else [])]
    command = [sys.executable, "-m", "benchmarks.threads", "--child", *options, name]
    before = group.throttled() if group else 0
    begin = time.monotonic()
    join = None if group is None else group.join
    text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, preexec_fn=join).stdout
    found = json.loads(text)
    found["throttled"] = ((group.throttled() if group else 0) - before) / (time.monotonic() - begin)
    return found


def quota(name: str, arguments: argparse.Namespace) -> None:
    cpus = arguments.quota
    try:
        groups = [Group("unlimited", None), Group("quota", cpus)]
    except OSError as error:
        print(f"no quota measured: {error}")
        return
    print(
        f"\n{'clients':>7}  {'under ' + str(cpus) + ' CPUs of ' + str(arguments.threads):<24} "
        f"{'runs/s':>10} {'of free':>10} {'p99 ms':>8} {'CPUs used':>10} {'throttled/s':>12}"
    )
    try:
        for clients in (1, arguments.clients):
            measure_quota(name, groups, arguments, clients)
    finally:
        for group in groups:
            group.close()


def measure_quota(name: str, groups: list[Group], arguments: argparse.Namespace, clients: int) -> None:
    cases = [
        ("no quota", groups[0], arguments.threads),
        ("quota, as the engine finds it", groups[1], None),
        ("quota, all threads forced", groups[1], arguments.threads),
    ]
    found: dict[str, list[Any]] = {case[0]: [] for case in cases}
    for _ in range(arguments.rounds):
        for label, group, threads in cases:
            found[label].append(under(name, group, arguments, clients, threads))
    free = statistics.median(one["rate"] for one in found["no quota"])
    for label, rows in found.items():
        rate, p99, cpus, throttled = (
            statistics.median(row[key] for row in rows) for key in ("rate", "p99", "cpus", "throttled")
        )
        print(
            f"{clients:>7}  {label:<24} {rate:>10.1f} {rate / free:>10.0%} {1e3 * p99:>8.1f} {cpus:>10.2f} "
            f"{throttled:>12.1f}",
            flush=True,
        )


def idle(name: str, threads: int) -> None:
    engine = ziggurat.Engine(threads=threads)
    model, feeds = load(name, engine)
    model.run(feeds)
    time.sleep(0.1)
    cpu = time.process_time()
    time.sleep(1)
    print(f"\nidle: {1e3 * (time.process_time() - cpu):.1f} ms of CPU time in a second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--clients", type=int, default=4, help="client threads of a model where there are several")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quota", type=float, default=1.5)
    parser.add_argument("--only", choices=("sharing", "quota", "idle"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("models", nargs="*", default=["residual_net", "squeezenet"])
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(work(arguments.models[0], arguments.threads, arguments.clients, arguments.seconds)))
        return
    arguments.threads = arguments.threads or len(os.sched_getaffinity(0))
    if arguments.only in (None, "sharing"):
        print(f"{'clients':>7}  {'model':<24} {'solo runs/s':>10} {'kept':>10}")
        for clients in (1, arguments.clients):
            sharing(arguments.models, arguments.threads, clients, arguments.seconds, arguments.rounds)
    if arguments.only in (None, "quota"):
        quota(arguments.models[0], arguments)
    if arguments.only in (None, "idle"):
        idle(arguments.models[0], arguments.threads)


if __name__ == "__main__":
    main()
