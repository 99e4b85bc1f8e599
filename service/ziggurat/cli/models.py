"""`ziggurat inspect` and `devices`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from pydantic import ByteSize

import ziggurat
from ziggurat.cli.benchmark import Shape, random_feeds
from ziggurat.cli.drawing import svg
from ziggurat.engine import usable_isas
from ziggurat.formats.architectures.encoder_reader import is_encoder

if TYPE_CHECKING:
    from ziggurat.types import TensorSpec


def inspect(path: Path, whole_plan: bool, threads: int | None, isa: str | None, as_json: bool) -> None:
    engine = ziggurat.Engine(threads=threads, isa=isa)
    model, facts = _load(path, engine)
    plan = model.plan()
    report: dict[str, Any] = {
        "model": str(path),
        **facts,
        "inputs": [_spec(spec) for spec in model.inputs],
        "outputs": [_spec(spec) for spec in model.outputs],
        "fingerprint": plan.fingerprint,
        "fallback_steps": plan.fallback_steps,
        "warnings": list(plan.warnings),
        "memory": model.memory(),
    }
    if as_json:
        typer.echo(json.dumps(report | ({"plan": str(plan)} if whole_plan else {}), indent=1))
    else:
        typer.echo(_text(report))
        if whole_plan:
            typer.echo(f"\n{plan}")
    model.close()
    engine.close()


def _load(path: Path, engine: ziggurat.Engine) -> tuple[ziggurat.Model, dict[str, Any]]:
    """Any kind of model, and what is to be known of language models and encoders."""
    if path.suffix == ".onnx":
        return ziggurat.load(path, engine=engine), {}
    if is_encoder(path):
        encoder = ziggurat.load_encoder(path, engine=engine)
        return encoder.model, {"spec": dataclasses.asdict(encoder.spec)}
    language = ziggurat.load_llm(path, engine=engine, max_sequences=1, kv_memory=1 << 24)
    return language.model, {"spec": dataclasses.asdict(language.spec)}


def draw(path: Path, picture: Path, shape: Shape, threads: int | None, isa: str | None, timed: bool) -> None:
    """Writes the plan as an SVG picture; `timed` runs the model on random inputs and writes each step's time."""
    engine = ziggurat.Engine(threads=threads, isa=isa)
    model = ziggurat.load(path, engine=engine)
    graph = model.plan().graph
    steps = sum(row["op"] not in ("input", "output") for row in graph)
    times = None
    if timed:
        feeds = random_feeds(model.inputs, shape)
        model.run(feeds)
        profile = model.profile(feeds)
        # steps of loops' bodies are profiled too, and have no box
        times = [row["microseconds"] for row in profile] if len(profile) == steps else None
    picture.write_text(svg(graph, times), encoding="utf-8")
    typer.echo(f"{picture}: {steps} steps")
    engine.close()


def _spec(spec: TensorSpec) -> dict[str, Any]:
    names = spec.dim_names or (None,) * len(spec.shape or ())
    shape = [name or extent for extent, name in zip(spec.shape or (), names, strict=True)]
    return {"name": spec.name, "dtype": spec.dtype, "shape": None if spec.shape is None else shape}


def _text(report: dict[str, Any]) -> str:
    lines = [report["model"]]
    lines += [f"  {name:<16} {value}" for name, value in report.get("spec", {}).items()]
    for kind in ("inputs", "outputs"):
        for spec in report[kind]:
            shape = "of any rank" if spec["shape"] is None else f"[{', '.join(_extent(one) for one in spec['shape'])}]"
            lines.append(f"  {kind[:-1]:<8} {spec['name']} {spec['dtype']} {shape}")
    lines.append(f"  plan     fingerprint {report['fingerprint']}, {report['fallback_steps']} fallback steps")
    memory = ", ".join(f"{name} {ByteSize(size).human_readable()}" for name, size in report["memory"].items())
    lines.append(f"  memory   {memory}")
    lines += [f"  warning  {warning}" for warning in report["warnings"]]
    return "\n".join(lines)


def _extent(extent: object) -> str:
    return "?" if extent is None else str(extent)


def devices(as_json: bool) -> None:
    engine = ziggurat.Engine()
    report = {
        "isa": engine.isa,
        "usable_isas": usable_isas(),
        "threads": engine.threads,
        "threads_reason": engine.threads_reason,
        "devices": engine.devices(),
    }
    if as_json:
        typer.echo(json.dumps(report, indent=1))
    else:
        typer.echo(f"instruction set  {engine.isa} (usable: {', '.join(usable_isas())})")
        typer.echo(f"threads          {engine.threads_reason}")
        for device in engine.devices():
            typer.echo(f"device           {device['name']} ({device['kind']}): {device['description']}")
    engine.close()
