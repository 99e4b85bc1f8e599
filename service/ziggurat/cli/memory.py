"""`ziggurat inspect --memory`: what a model needs, found without reading its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from pydantic import ByteSize

import ziggurat
from ziggurat.cli.benchmark import Shape, extents
from ziggurat.engine import GraphBuilder, Model, kv_cache_bytes
from ziggurat.errors import InvalidArgument, OutOfMemory
from ziggurat.formats.architectures import read_language_model
from ziggurat.formats.architectures.encoder_reader import is_encoder, read_encoder

if TYPE_CHECKING:
    from ziggurat.types import LanguageModelSpec

# What load_llm takes if nothing else is said.
STEP_TOKENS, SEQUENCES, BLOCK = 256, 64, 32


def inspect(path: Path, shape: Shape, threads: int | None, isa: str | None, as_json: bool) -> None:
    engine = ziggurat.Engine(threads=threads, isa=isa)
    report = {"model": str(path), **measure(path, shape, engine)}
    typer.echo(json.dumps(report, indent=1) if as_json else _text(report))
    engine.close()


def measure(path: Path, shape: Shape, engine: ziggurat.Engine) -> dict[str, Any]:
    """Bytes that the model takes of the engine's budget, by what they are for.

    Raises what loading raises, but for want of memory.
    """
    model, spec = _open(path, engine)
    with model:
        shapes = _decoder_shapes(model, spec) if spec else _shapes(model, shape)
        load, run = model.load_need(), model.run_need(shapes)
    resident = load["packed"] + load["constants"]
    limit = engine.memory()["limit"]
    cache = _cache(spec, max(limit - resident, 0)) if spec else 0
    total = resident + cache + run["slab"] + run["scratch"] + run["outputs"]
    report: dict[str, Any] = {"shapes": {name: list(dims) for name, dims in shapes.items()}, "load": load, "run": run}
    report |= {"kv_cache": cache} if spec else {}
    return report | {"total": total, "limit": limit, "fits": max(total, resident + load["largest_source"]) <= limit}


def _cache(spec: LanguageModelSpec, left: int) -> int:
    """Of `left` bytes; one block at the least, so that it shows where not even that fits."""
    shape = (spec.layers, spec.kv_heads, spec.head_dim, "auto")
    try:
        return kv_cache_bytes(*shape, left, spec.context, SEQUENCES)
    except OutOfMemory:
        return kv_cache_bytes(*shape, 1 << 50, BLOCK, 1)


def _open(path: Path, engine: ziggurat.Engine) -> tuple[Model, LanguageModelSpec | None]:
    if path.suffix == ".onnx":
        return ziggurat.load(path, engine=engine, measure=True), None
    if is_encoder(path):
        return Model(engine, read_encoder(path, GraphBuilder).graph, measure=True), None
    source = read_language_model(path, GraphBuilder)
    return Model(engine, source.graph, measure=True), source.spec


def _shapes(model: Model, shape: Shape) -> dict[str, tuple[int, ...]]:
    tensors = [spec for spec in model.inputs if spec.shape is not None]
    unknown = set(shape.named) - {name for spec in tensors for name in spec.dim_names if name}
    if unknown:
        raise InvalidArgument(f"no dimension is called {', '.join(sorted(unknown))}")
    return {spec.name: extents(spec, shape) for spec in tensors}


def _decoder_shapes(model: Model, spec: LanguageModelSpec) -> dict[str, tuple[int, ...]]:
    """Of the largest step: a full budget of tokens, as many sequences as may run."""
    most = {
        "tokens": (STEP_TOKENS,),
        "positions": (STEP_TOKENS,),
        "slots": (STEP_TOKENS,),
        "starts": (SEQUENCES + 1,),
        "blocks": (SEQUENCES, -(-spec.context // BLOCK)),
        "rows": (SEQUENCES,),
    }
    return {one.name: most[one.name] for one in model.inputs if one.name in most}


def _text(report: dict[str, Any]) -> str:
    load, run = report["load"], report["run"]
    shapes = ", ".join(f"{name} [{', '.join(map(str, dims))}]" for name, dims in report["shapes"].items())
    rows = [
        ("weights", load["packed"], "in the order that the kernels read them"),
        ("constants", load["constants"], "kept as they came"),
        ("slab", run["slab"], f"of one run, for intermediate results: {shapes}"),
        ("scratch", run["scratch"], "of one run, for its kernels"),
        ("outputs", run["outputs"], "of one run"),
    ]
    if "kv_cache" in report:
        rows.insert(2, ("kv cache", report["kv_cache"], f"keys and values of {SEQUENCES} sequences, or what is left"))
    lines = [report["model"], *(f"  {name:<10} {_size(size):>10}  {text}" for name, size, text in rows)]
    if run["dynamic_steps"]:
        lines.append(f"  {run['dynamic_steps']} steps give results whose size only running tells: they come on top")
    verdict = "fits" if report["fits"] else "does not fit"
    lines.append(f"  {'total':<10} {_size(report['total']):>10}  {verdict} the limit of {_size(report['limit'])}")
    lines.append(
        f"  {'loading':<10} {_size(load['largest_source']):>10}  more for a while: the largest weight as stored"
    )
    return "\n".join(lines)


def _size(size: int) -> str:
    return ByteSize(size).human_readable()
