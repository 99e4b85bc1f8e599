"""The `ziggurat` command. This file only declares the words; what they do is imported when one is used, so that
`ziggurat --help` answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="ziggurat",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Serves ONNX models over HTTP from its own inference engine.

Examples:

- `ziggurat serve ./models` serves every model of a folder on http://127.0.0.1:8000
- `ziggurat serve resnet50.onnx --name resnet` serves one
- `ziggurat inspect resnet50.onnx --plan` shows what the engine makes of it
- `ziggurat bench resnet50.onnx --batch 8` measures it
""",
)

Model = Annotated[Path, typer.Argument(help="An .onnx or .gguf file, or a Hugging Face folder.", show_default=False)]
Threads = Annotated[int | None, typer.Option(help="Worker threads; default: what the machine grants.")]
Isa = Annotated[str | None, typer.Option(help="Force a lower instruction set, as `avx2`.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting, as `limits.queue=64`. May be repeated.", metavar="KEY=VALUE"),
]
Config = Annotated[Path | None, typer.Option("--config", help="Settings file (TOML).")]
Dims = Annotated[
    list[str] | None,
    typer.Option("--dim", help="Size of a named dimension, as `seq=64`. May be repeated.", metavar="NAME=N"),
]


@app.command()
def serve(
    path: Annotated[Path | None, typer.Argument(help="A repository folder, or one model.", show_default=False)] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model when PATH is one model.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (default 8000; 0 takes a free one).")] = None,
    threads: Threads = None,
    memory_limit: Annotated[str | None, typer.Option(help="Memory budget of the engine, as `4GiB`.")] = None,
    isa: Isa = None,
    device: Annotated[str | None, typer.Option(help="Device to load models on (default `auto`).")] = None,
    repro_dir: Annotated[Path | None, typer.Option(help="Folder for bundles of runs that fail.")] = None,
    config: Config = None,
    sets: Sets = None,
) -> None:
    """Serves models over HTTP until it is stopped.

    A repository holds `NAME/VERSION/model.onnx`, `NAME/model.onnx` or `NAME.onnx`. Every model is loaded at the start,
    each on its own: a broken one is reported and the others serve.

    - `ziggurat serve ./models --port 9000`
    - `ziggurat serve mobilenet.onnx --name vision/mobilenet`
    - `ZIGGURAT_LIMITS__QUEUE=64 ziggurat serve ./models`
    """
    from ziggurat.cli import serving

    flags = {
        "models.path": path,
        "models.name": name,
        "server.host": host,
        "server.port": port,
        "engine.threads": threads,
        "engine.memory_limit": memory_limit,
        "engine.isa": isa,
        "engine.device": device,
        "repro.dir": repro_dir,
    }
    serving.serve(serving.read_settings(flags, sets or [], config))


@app.command()
def bench(
    model: Annotated[Path, typer.Argument(help="An .onnx file, or a language model's folder or .gguf file.")],
    batch: Annotated[int, typer.Option(min=1, help="Size of the first dimension where it varies.")] = 1,
    seq: Annotated[int, typer.Option(min=1, help="Size of the other dimensions that vary.")] = 128,
    dim: Dims = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to measure.")] = 3.0,
    prompt: Annotated[int, typer.Option(min=1, help="Language models: tokens of each prompt.")] = 256,
    new: Annotated[int, typer.Option(min=1, help="Language models: tokens to generate after each prompt.")] = 32,
    concurrency: Annotated[str, typer.Option(help="Language models: prompts at once, as `1,8`.")] = "1",
    rounds: Annotated[int, typer.Option(min=1, help="Language models: rounds of each concurrency.")] = 3,
    weights: Annotated[str, typer.Option(help="Language models: `auto`, `f32`, `bf16`, `int8` or `int4`.")] = "auto",
    kv_cache: Annotated[str, typer.Option(help="Language models: `auto`, `f32`, `f16` or `int8`.")] = "auto",
    threads: Threads = None,
    isa: Isa = None,
    json: Json = False,
) -> None:
    """Measures a model's latency and throughput on random inputs.

    - `ziggurat bench resnet50.onnx --batch 8 --threads 2`
    - `ziggurat bench bert.onnx --seq 64 --json`
    - `ziggurat bench tinyllama.gguf --prompt 256 --new 32 --concurrency 1,8`
    """
    from ziggurat.cli import benchmark, language_benchmark

    if language_benchmark.is_language_model(model):
        load = language_benchmark.Load(prompt, new, language_benchmark.parse_concurrency(concurrency), rounds)
        options = {"weights": weights, "kv_cache": kv_cache}
        language_benchmark.run(model, load, threads, isa, options, json)
        return
    shape = benchmark.Shape(batch, seq, benchmark.parse_dims(dim or []))
    benchmark.run(model, shape, seconds, threads, isa, json)


@app.command()
def inspect(
    model: Model,
    plan: Annotated[bool, typer.Option("--plan", help="Print the whole plan: steps, kernels, memory.")] = False,
    graph: Annotated[Path | None, typer.Option(help="Draw the optimised graph into this SVG file.")] = None,
    timed: Annotated[bool, typer.Option("--timed", help="Run once, and write times into the drawing.")] = False,
    memory: Annotated[bool, typer.Option("--memory", help="What it needs, without reading its weights.")] = False,
    batch: Annotated[int, typer.Option(min=1, help="With --timed, --memory: size of the first dimension.")] = 1,
    seq: Annotated[int, typer.Option(min=1, help="With --timed, --memory: size of the others that vary.")] = 128,
    threads: Threads = None,
    isa: Isa = None,
    json: Json = False,
) -> None:
    """Shows a model's inputs, outputs and operators, and how the engine runs it.

    - `ziggurat inspect resnet50.onnx --plan`
    - `ziggurat inspect resnet50.onnx --graph resnet50.svg --timed`
    - `ziggurat inspect resnet50.onnx --memory --batch 8`
    """
    from ziggurat.cli import benchmark, models

    if memory:
        from ziggurat.cli import memory as needs

        needs.inspect(model, benchmark.Shape(batch, seq, {}), threads, isa, json)
    elif graph:
        models.draw(model, graph, benchmark.Shape(batch, seq, {}), threads, isa, timed)
    else:
        models.inspect(model, plan, threads, isa, json)


@app.command()
def check(
    model: Model,
    batch: Annotated[int, typer.Option(min=1, help="Size of the first dimension where it varies.")] = 1,
    seq: Annotated[int, typer.Option(min=1, help="Size of the other dimensions that vary.")] = 16,
    dim: Dims = None,
) -> None:
    """Compares each step of a model as the engine runs it with its operator's definition, and names the first that
    differs; then the outputs with those of the model run operator by operator.

    Random inputs; exit status 1 where something differs. For a model of your own that gives results you doubt.

    A bundle, as `ziggurat serve --repro-dir` leaves one of a run that failed, is run again with its own inputs first;
    exit status 1 where it still fails.
    """
    from ziggurat.cli import benchmark, checking
    from ziggurat.formats import repro

    if repro.is_bundle(model):
        if not checking.rerun(model):
            raise typer.Exit(1)
    elif not checking.check(model, benchmark.Shape(batch, seq, benchmark.parse_dims(dim or []))):
        raise typer.Exit(1)


@app.command()
def verify(
    model: Model,
    against: Annotated[
        str | None, typer.Option(help="`onnxruntime`, `transformers` or `llama.cpp`; default: what fits the model.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Text for a language model; default: random token ids.")] = None,
    tokens: Annotated[int, typer.Option(min=1, help="How many random token ids.")] = 32,
    tolerance: Annotated[
        float | None, typer.Option(help="Largest difference allowed, as a part of the largest magnitude.")
    ] = None,
) -> None:
    """Compares a model of your own with the engine that runs it today, which must be installed beside this package.

    - `ziggurat verify resnet50.onnx --against onnxruntime`
    - `ziggurat verify ./Qwen3-0.6B --against transformers --prompt "Once upon a time"`
    - `ziggurat verify model-Q4_K_M.gguf --against llama.cpp`
    """
    from ziggurat.cli import comparing

    if not comparing.verify(model, against, prompt, tokens, tolerance):
        raise typer.Exit(1)


@app.command("config")
def show_config(config: Config = None, sets: Sets = None, json: Json = False) -> None:
    """Prints every setting with its value and where that came from.

    A setting is read from the command line, then the environment (`ZIGGURAT_SERVER__PORT=9000`), then the file given
    by `--config`, then its default.
    """
    from ziggurat.cli import serving

    serving.show_config(serving.read_settings({}, sets or [], config), json)


@app.command()
def devices(json: Json = False) -> None:
    """Lists the devices that models can run on, and what the engine found out about this machine."""
    from ziggurat.cli import models

    models.devices(json)


def main() -> None:
    """Entry point: one clear line and exit status 2 for what the user can mend, instead of a traceback."""
    from ziggurat.errors import Internal, ZigguratError

    try:
        app()
    except ZigguratError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(70 if isinstance(error, Internal) else 2)
