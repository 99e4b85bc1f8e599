"""Runs a scenario at several numbers of users, one after the other, and writes a table and a plot.

python -m loadtests.run small_tensors --host http://127.0.0.1:8000 [--users 1,4,16] [--seconds 20]
"""

from __future__ import annotations

import argparse

import gevent.monkey

gevent.monkey.patch_all()

import importlib  # noqa: E402 - Locust must be patched before anything opens a socket
import platform  # noqa: E402
import sys  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402
from locust import User  # noqa: E402
from locust.env import Environment  # noqa: E402
from locust.stats import RequestStats  # noqa: E402

from loadtests.timing import KIND  # noqa: E402

RESULTS = Path(__file__).parent / "results"
PERCENTILES = (0.5, 0.9, 0.99)
WARM_UP = 2.0  # seconds before the counters begin anew


@dataclass
class Row:
    users: int
    name: str
    rate: float
    failures: int
    latency: list[float]  # ms at PERCENTILES


def rows_of(users: int, stats: RequestStats, seconds: float) -> list[Row]:
    """Of one step a row for each kind of request."""
    asked = sorted((entry for (_, kind), entry in stats.entries.items() if kind != KIND), key=lambda one: one.name)
    rows = []
    for one in asked:
        latency = [one.get_response_time_percentile(share) for share in PERCENTILES]
        rows.append(Row(users, one.name, one.num_requests / seconds, one.num_failures, latency))
    return rows


def server_side(stats: RequestStats) -> dict[str, float]:
    return {name: entry.avg_response_time for (name, kind), entry in stats.entries.items() if kind == KIND}


def step(scenario: list[type[User]], host: str, users: int, seconds: float) -> tuple[list[Row], dict[str, float]]:
    environment = Environment(user_classes=scenario, host=host)
    runner = environment.create_local_runner()
    runner.start(users, spawn_rate=users)
    gevent.sleep(WARM_UP)
    environment.stats.reset_all()
    gevent.sleep(seconds)
    rows, server = rows_of(users, environment.stats, seconds), server_side(environment.stats)
    runner.quit()
    return rows, server


def report(name: str, host: str, steps: list[tuple[list[Row], dict[str, float]]]) -> str:
    machine = f"{platform.processor() or platform.machine()}, Python {platform.python_version()}"
    lines = [f"# {name} against {host}", "", machine, ""]
    lines += ["| users | request | requests/s | failed | p50 ms | p90 ms | p99 ms |", "|---|---|---|---|---|---|---|"]
    for rows, _ in steps:
        for row in rows:
            times = " | ".join(f"{one:.1f}" for one in row.latency)
            lines.append(f"| {row.users} | {row.name} | {row.rate:.0f} | {row.failures} | {times} |")
    lines += ["", "Where the server says that the time went, mean ms:", ""]
    lines += ["| users | queue | input | compute | output |", "|---|---|---|---|---|"]
    for rows, server in steps:
        parts = " | ".join(f"{server.get(part, 0.0):.3f}" for part in ("queue", "input", "compute", "output"))
        lines.append(f"| {rows[0].users if rows else '?'} | {parts} |")
    return "\n".join(lines) + "\n"


def plot(path: Path, steps: list[tuple[list[Row], dict[str, float]]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (rate, latency) = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for name in sorted({row.name for rows, _ in steps for row in rows}):
        mine = [row for rows, _ in steps for row in rows if row.name == name]
        users = [row.users for row in mine]
        rate.plot(users, [row.rate for row in mine], marker="o", label=name)
        for index, style in ((0, "-"), (2, ":")):
            label = f"{name} p{PERCENTILES[index] * 100:.0f}"
            latency.plot(users, [row.latency[index] for row in mine], style, marker="o", label=label)
    rate.set(xlabel="users", ylabel="requests per second", ylim=(0, None))
    latency.set(xlabel="users", ylabel="latency, ms", ylim=(0, None))
    for axes in (rate, latency):
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario")
    parser.add_argument("--host", default="http://127.0.0.1:8000")
    parser.add_argument("--users", default="1,4,16", type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--seconds", default=20.0, type=float)
    args = parser.parse_args()
    module = importlib.import_module(f"loadtests.{args.scenario}")
    found = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, User)]
    scenario = [one for one in found if one.__module__ == module.__name__]
    steps = [step(scenario, args.host, users, args.seconds) for users in args.users]
    RESULTS.mkdir(exist_ok=True)
    text = report(args.scenario, args.host, steps)
    (RESULTS / f"{args.scenario}.md").write_text(text, encoding="utf-8")
    plot(RESULTS / f"{args.scenario}.svg", steps)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
