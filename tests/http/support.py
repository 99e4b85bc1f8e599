"""A real server on a free port of this machine, and a client that can send what no client should."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import uvloop

from ziggurat import app, settings
from ziggurat.telemetry.logs import make_logger

WAIT_SECONDS = 30.0


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, f"not within {WAIT_SECONDS} s: {what}"
        time.sleep(0.005)


@dataclass
class Running:
    service: app.Service
    port: int
    log: io.StringIO
    stop: Callable[..., None]  # begins a stop; takes seconds of delay
    loop: asyncio.AbstractEventLoop  # the server's

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@contextmanager
def serving(path: Path, wait: bool = True, **groups: dict[str, Any]) -> Iterator[Running]:
    """Serves `path`; groups are settings, as limits={"queue": 1}."""
    cli = {"server": {"port": 0}, "models": {"path": path}, "logging": {"format": "json"}}
    for group, values in groups.items():
        cli[group] = {**cli.get(group, {}), **values}
    loaded = settings.load(cli).settings
    log = io.StringIO()
    with app.bind(loaded) as listener:
        service = app.Service(loaded, make_logger(loaded.logging, log))
        service.start_loading()
        with _thread(service, listener) as (server, stop, loop):
            until(lambda: server.started, "the server starts")
            if wait:
                until(lambda: _tried(service), "the models are loaded or have failed")
            yield Running(service, listener.getsockname()[1], log, stop, loop)


def _tried(service: app.Service) -> bool:
    return all(entry.status.state.value != "LOADING" for entry in service.registry.entries())


@contextmanager
def _thread(service: app.Service, listener: socket.socket) -> Iterator[tuple[app.Server, Callable[..., None], Any]]:
    """Runs the server on a thread and stops it at the end."""
    server = service.server()
    loop = uvloop.new_event_loop()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(server.serve([listener]))

    def stop(delay: float = 0.0) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(server.stop, delay)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield server, stop, loop
    finally:
        stop()
        thread.join(WAIT_SECONDS)
        assert not thread.is_alive(), "the server did not stop"


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        document = self.json()
        assert list(document) == ["error"], document
        return str(document["error"])

    def tensors(self) -> dict[str, np.ndarray]:
        """Outputs that came as JSON."""
        return {one["name"]: np.array(one["data"]).reshape(one["shape"]) for one in self.json()["outputs"]}


class Raw:
    """One connection, to which anything can be written."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), WAIT_SECONDS)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        self.send(method, path, body, **headers)
        return self.reply()

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        fields = {"host": "127.0.0.1", "content-length": str(len(body))}
        fields |= {name.replace("_", "-"): text for name, text in headers.items()}
        head = "".join(f"{name}: {text}\r\n" for name, text in fields.items())
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)

    def reply(self) -> Reply:
        line = self._file.readline()
        assert line, "the connection was closed without an answer"
        headers: dict[str, str] = {}
        while field := self._file.readline().strip():
            name, _, text = field.decode("latin-1").partition(":")
            headers[name.lower()] = text.strip()
        return Reply(int(line.split()[1]), headers, self._file.read(int(headers["content-length"])))

    def infer(self, model: str, document: Any, raw: bytes = b"", **headers: str) -> Reply:
        """Sends a document, followed by raw tensors where there are any."""
        head = document if isinstance(document, bytes) else json.dumps(document).encode()
        if raw:
            headers = {"inference_header_content_length": str(len(head)), **headers}
        return self.request("POST", f"/v2/models/{model}/infer", head + raw, **headers)
