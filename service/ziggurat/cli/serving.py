"""`ziggurat serve` and `ziggurat config`."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from pydantic import ByteSize

from ziggurat import settings
from ziggurat.errors import InvalidArgument
from ziggurat.serving.registry import State

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from ziggurat.app import Server, Service
    from ziggurat.serving.registry import Entry
    from ziggurat.types import TensorSpec


def read_settings(flags: Mapping[str, object], sets: Sequence[str], file: Path | None) -> settings.Loaded:
    cli: dict[str, dict[str, object]] = {}
    pairs: list[tuple[str, object]] = []
    for item in sets:
        name, equals, text = item.partition("=")
        if not equals or "." not in name:
            raise InvalidArgument(f"--set takes GROUP.KEY=VALUE, got '{item}'")
        pairs.append((name, text))
    for name, value in [*pairs, *flags.items()]:
        if value is not None:
            group, _, key = name.partition(".")
            cli.setdefault(group, {})[key] = value
    return settings.load(cli, os.environ, file)


def show_config(loaded: settings.Loaded, as_json: bool) -> None:
    rows = loaded.rows()
    if as_json:
        keys = ("setting", "value", "origin", "description")
        typer.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=1))
        return
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, value, origin, description in rows:
        typer.echo(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin:<{widths[2]}}  {description}")


def serve(loaded: settings.Loaded) -> None:
    from ziggurat import app
    from ziggurat.telemetry.logs import Forward, make_logger

    wanted = loaded.settings
    if wanted.models.path is None:
        raise InvalidArgument("nothing to serve: name a folder or a model, as in `ziggurat serve ./models`")
    # How long a thread with Python work may let the event loop wait for the interpreter; Python's default is 5 ms.
    sys.setswitchinterval(0.0005)
    logger = make_logger(wanted.logging, sys.stderr)
    library = logging.getLogger("uvicorn.error")
    library.setLevel(logging.WARNING)
    library.addHandler(Forward(logger))
    with app.bind(wanted) as listener:
        service = app.Service(wanted, logger)
        service.start_loading()
        host, port = listener.getsockname()[:2]
        server = service.server()
        threading.Thread(target=_greet, args=(service, server, logger, host, port), name="banner", daemon=True).start()
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(server.serve([listener]))
    if service.registry.busy():
        # Python ends a daemon thread by unwinding it, which native code that is loading a model does not survive.
        sys.stdout.flush()
        os._exit(0)


def _greet(service: Service, server: Server, logger: FilteringBoundLogger, host: str, port: int) -> None:
    """Prints the banner when every model is loaded or has failed; the server answers meanwhile."""
    entries = service.registry.entries()
    told = False
    while not server.started or any(entry.status.state is State.LOADING for entry in entries):
        if server.started and not told:
            logger.info("listening", host=host, port=port, loading=len(entries))
            told = True
        if service.serving.draining:
            return
        time.sleep(0.02)
    typer.echo(banner(service, host, port))
    # What was imported and loaded stays: a full collection would walk it all again, in which time nothing is answered.
    gc.collect()
    gc.freeze()


def banner(service: Service, host: str, port: int) -> str:
    engine, wanted = service.engine, service.settings
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    limit = ByteSize(engine.memory()["limit"]).human_readable()
    lines = [
        f"{wanted.server.name} is serving on {url}",
        "",
        f"  page     {url}/",
        f"  V2       {url}/v2    metrics  {url}/metrics",
        f"  engine   {engine.isa}, threads {engine.threads_reason}",
        f"  memory   {limit} for models and runs together",
        f"  access   {_access(host)}",
        "",
    ]
    rows = [_model_line(entry) for entry in service.registry.entries()]
    return "\n".join([*lines, *(rows or [f"  no models in {wanted.models.path}"]), ""])


def _model_line(entry: Entry) -> str:
    status, name = entry.status, f"{entry.name} version {entry.version}"
    if status.language is not None:
        return f"  ✓ {name} ready in {status.load_seconds:.2f} s: language model"
    if status.model is None:
        return f"  ✗ {name}: {status.reason}"
    inputs = ", ".join(f"{spec.name} {spec.dtype}{_shape(spec)}" for spec in status.model.inputs)
    return f"  ✓ {name} ready in {status.load_seconds:.2f} s: {inputs}"


def _shape(spec: TensorSpec) -> str:
    if spec.shape is None:
        return ""
    names = spec.dim_names or (None,) * len(spec.shape)
    extents = [str(name or "?" if extent is None else extent) for extent, name in zip(spec.shape, names, strict=True)]
    return f"[{', '.join(extents)}]"


def _access(host: str) -> str:
    if ipaddress.ip_address(host).is_loopback:
        return "this machine only, no keys"
    return "OPEN TO THE NETWORK, no keys: put it behind something that checks who asks"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # not on every platform
        return asyncio.SelectorEventLoop
    return uvloop.new_event_loop
