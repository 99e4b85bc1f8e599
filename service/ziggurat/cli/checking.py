"""`ziggurat check`: each step of the optimised plan against its op's expansion, then the outputs as a whole."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import typer

import ziggurat
from ziggurat.cli.benchmark import Shape, random_feeds
from ziggurat.engine import Model, usable_isas
from ziggurat.errors import ZigguratError
from ziggurat.formats import repro

TOLERANCE = 1e-4  # of an output's largest magnitude: what sums in another order stay well below in float32


def check(path: Path, shape: Shape) -> bool:
    """Prints how far each part is from its meaning; False where something differs."""
    with ziggurat.Engine() as engine:
        optimised = ziggurat.load(path, engine=engine, keep_constants=True)
        return _compare(path, optimised, random_feeds(optimised.inputs, shape))


def rerun(path: Path) -> bool:
    """Runs a bundle's model on its inputs; where it no longer fails, its steps are checked. False where it fails."""
    bundle = repro.read_bundle(path)
    options, then = bundle.report["options"], bundle.report["engine"]
    isa = then["isa"] if then["isa"] in usable_isas() else None
    with ziggurat.Engine(threads=then["threads"], isa=isa) as engine:
        model = ziggurat.load(bundle.model, engine=engine, keep_constants=True, **options)
        same = model.plan().fingerprint == bundle.report["fingerprint"]
        typer.echo(f"plan     {'the same' if same else 'ANOTHER'} as then ({then['isa']}, now {engine.isa})")
        typer.echo(f"then     {bundle.report['error']['type']}: {bundle.report['error']['text']}")
        try:
            model.run(bundle.feeds)
        except ZigguratError as error:
            typer.echo(f"now      {type(error).__name__}: {error}")
            return False
        typer.echo("now      it runs")
        return _compare(bundle.model, model, bundle.feeds)


def _compare(path: Path, optimised: Model, feeds: dict[str, Any]) -> bool:
    steps = optimised.check(feeds)
    agree = _print_steps(steps)
    got = optimised.run(feeds)
    want = ziggurat.load(path, device="reference", engine=optimised.engine, optimize=False).run(feeds)
    typer.echo("optimised on cpu against unoptimised on reference")
    for name, value in want.items():
        apart = distance(got[name], value)
        agree &= apart <= TOLERANCE
        verdict = "agrees" if apart <= TOLERANCE else "DIFFERS"
        typer.echo(f"{verdict}  {name}: {apart:.2e} of the largest magnitude (allowed {TOLERANCE:.0e})")
    return agree


def _print_steps(steps: list[dict[str, Any]]) -> bool:
    compared = [step for step in steps if not step["problem"]]
    worst = max((step["distance"] for step in compared), default=0.0)
    typer.echo(f"{len(compared)} of {len(steps)} steps against their ops' definitions, at most {worst:.2e} apart")
    for step in steps:
        if step["problem"]:
            typer.echo(f"skipped  {_name(step)}: {step['problem']}")
    first = next((step for step in compared if step["distance"] > TOLERANCE), None)
    if first:
        typer.echo(f"DIFFERS  first in {_name(first)}: {first['distance']:.2e} of the largest magnitude")
    return first is None


def _name(step: dict[str, Any]) -> str:
    return f"{step['op']} '{step['node']}' ({step['kernel']})"


def distance(got: Any, want: Any) -> float:
    """The largest difference as a part of the largest magnitude; infinite where the two cannot be compared."""
    if not isinstance(want, np.ndarray) or want.dtype == object:
        return 0.0 if str(got) == str(want) else math.inf
    if got.shape != want.shape or got.dtype != want.dtype:
        return math.inf
    a, b = got.astype(np.complex128), want.astype(np.complex128)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if not np.isfinite(a[~same]).all() or not np.isfinite(b[~same]).all():
        return math.inf
    largest = np.abs(b[np.isfinite(b)]).max(initial=0.0)
    return float(np.abs(a - b)[~same].max(initial=0.0) / (largest or 1.0))
