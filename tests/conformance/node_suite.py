"""Runs the onnx package's backend test suite through an engine and counts what passes.

    python -m tests.conformance.node_suite                      # all cases; counts per category, then what is missing
    python -m tests.conformance.node_suite --only '*softmax*' --verbose
    python -m tests.conformance.node_suite --write              # the passing cases become the new baseline
    python -m tests.conformance.node_suite --engine onnxruntime # the same count for a peer

Cases run in child processes: one that crashes or hangs costs that case, and is reported as such.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import multiprocessing.connection
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from tests.conformance.node_cases import Case, same, unpack
from tests.conformance.node_cases import collect as collect_cases

BASELINE = Path(__file__).with_name("node_suite_passing.txt")
STATUSES = ("pass", "unsupported", "refused", "wrong", "error", "crash", "hang")
CASE_SECONDS = 30
CHUNK = 50

Run = Callable[[dict[str, Any]], list[Any]]


@dataclass(frozen=True)
class Outcome:
    name: str
    category: str
    status: str
    detail: str = ""


def load_ziggurat(model: bytes) -> Run:
    import ziggurat

    loaded = ziggurat.load(model)
    names = [spec.name for spec in loaded.outputs]

    def run(feeds: dict[str, Any]) -> list[Any]:
        outputs = loaded.run(feeds)
        return [outputs[name] for name in names]

    return run


def load_onnxruntime(model: bytes) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(None, feeds)


ENGINES = {"ziggurat": load_ziggurat, "onnxruntime": load_onnxruntime}


def judge(case: Case, load: Callable[[bytes], Run]) -> Outcome:
    """Loads and runs one case. An engine says "not supported" by an error whose code is `unsupported`."""
    try:
        model = case.model()
        run = load(model.SerializeToString())
        weights = {tensor.name for tensor in model.graph.initializer}
        names = [value.name for value in model.graph.input if value.name not in weights or case.feeds_weights]
        for inputs, expected in case.data():
            feeds = {name: unpack(value) for name, value in zip(names, inputs, strict=False)}
            actual = run({name: value for name, value in feeds.items() if value is not None})
            difference = same([unpack(value) for value in expected], actual, case.rtol, case.atol)
            if difference:
                return Outcome(case.name, case.category, "wrong", difference)
    except Exception as error:
        code = getattr(error, "code", "")
        status = {"unsupported": "unsupported", "invalid_model": "refused", "invalid_argument": "refused"}.get(
            code, "error"
        )
        return Outcome(case.name, case.category, status, f"{type(error).__name__}: {error}"[:500])
    return Outcome(case.name, case.category, "pass")


def _serve(cases: list[Case], engine: str, pipe: multiprocessing.connection.Connection) -> None:
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    for case in cases:
        pipe.send(judge(case, ENGINES[engine]))
    pipe.close()


def run_chunk(cases: Sequence[Case], engine: str) -> Iterator[Outcome]:
    """The outcomes of `cases` in order; after a crash or a hang the rest goes on in a new process."""
    context = multiprocessing.get_context("fork")
    rest = list(cases)
    while rest:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_serve, args=(rest, engine, theirs))
        child.start()
        theirs.close()
        while rest:
            try:
                outcome = ours.recv() if ours.poll(CASE_SECONDS) else None
            except EOFError:
                child.join()
                outcome = Outcome(rest[0].name, rest[0].category, "crash", f"exit code {child.exitcode}")
            outcome = outcome or Outcome(rest[0].name, rest[0].category, "hang", f"no answer in {CASE_SECONDS} s")
            yield outcome
            rest.pop(0)
            if outcome.status in ("crash", "hang"):
                break
        child.kill()
        child.join()
        ours.close()


def run(cases: Sequence[Case], engine: str = "ziggurat", processes: int = 2) -> list[Outcome]:
    """The outcomes of all cases, by name. `processes` chunks are under way at a time."""
    from concurrent.futures import ThreadPoolExecutor

    chunks = [cases[start : start + CHUNK] for start in range(0, len(cases), CHUNK)]
    with ThreadPoolExecutor(processes) as executor:
        done = executor.map(lambda chunk: list(run_chunk(chunk, engine)), chunks)
        return sorted((outcome for chunk in done for outcome in chunk), key=lambda outcome: outcome.name)


def table(outcomes: Sequence[Outcome]) -> str:
    """Counts per category, one line each, and the total last."""
    lines = [f"{'category':<22}" + "".join(f"{status:>13}" for status in STATUSES) + f"{'of':>8}"]
    categories = [*sorted({outcome.category for outcome in outcomes}), "total"]
    for category in categories:
        rows = [o for o in outcomes if category in ("total", o.category)]
        counts = Counter(outcome.status for outcome in rows)
        lines.append(f"{category:<22}" + "".join(f"{counts[status]:>13}" for status in STATUSES) + f"{len(rows):>8}")
    return "\n".join(lines)


def baseline() -> set[str]:
    lines = BASELINE.read_text(encoding="utf-8").splitlines() if BASELINE.exists() else []
    return {line for line in lines if line and not line.startswith("#")}


def write_baseline(outcomes: Sequence[Outcome]) -> None:
    """Replaces the verdict on the cases that ran, and keeps it for those that did not."""
    ran = {outcome.name for outcome in outcomes}
    passing = (baseline() - ran) | {outcome.name for outcome in outcomes if outcome.status == "pass"}
    head = "# Cases of the onnx package's backend suite that pass, and must. Written by node_suite.py --write.\n"
    BASELINE.write_text(head + "".join(f"{name}\n" for name in sorted(passing)), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="pattern of case names")
    parser.add_argument("--sample", type=int, default=0, help="this many cases, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=sorted(ENGINES), default="ziggurat")
    parser.add_argument("--json", type=Path, help="writes the outcomes there")
    parser.add_argument("--write", action="store_true", help="updates the baseline")
    parser.add_argument("--verbose", action="store_true", help="prints what did not pass, and why")
    arguments = parser.parse_args()
    cases = [case for case in collect_cases() if fnmatchcase(case.name, arguments.only)]
    if arguments.sample:
        cases = random.Random(arguments.seed).sample(cases, min(arguments.sample, len(cases)))
    outcomes = run(cases, arguments.engine)
    for outcome in outcomes:
        if arguments.verbose and outcome.status != "pass":
            print(f"{outcome.status:<12} {outcome.name}: {outcome.detail}")
    print(table(outcomes))
    if arguments.json:
        arguments.json.write_text(json.dumps([vars(outcome) for outcome in outcomes]), encoding="utf-8")
    if arguments.write:
        write_baseline(outcomes)


if __name__ == "__main__":
    main()
