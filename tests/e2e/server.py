"""A real server process for tests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_SECONDS = 60  # a loaded machine; the start itself takes one or two
STOP_SECONDS = 30


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from ziggurat.cli import main; raise SystemExit(main())", *words]


def environment() -> dict[str, str]:
    """This process's, without settings of a user's own, and with the package of this checkout."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ZIGGURAT_")}
    return {**kept, "PYTHONPATH": str(ROOT / "service"), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}


@dataclass
class Server:
    process: subprocess.Popen[str]
    url: str
    seconds_to_ready: float = 0.0
    output: list[str] = field(default_factory=list)

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Asks the process to end and returns its exit status; its output is in `output` afterwards."""
        if self.process.poll() is None:
            self.process.send_signal(by)
        text, _ = self.process.communicate(timeout=STOP_SECONDS)
        self.output += text.splitlines()
        return self.process.returncode


def _wait_until_ready(server: Server, started: float) -> None:
    while time.monotonic() - started < START_SECONDS:
        if server.process.poll() is not None:
            raise AssertionError(f"the server ended with {server.stop()}:\n" + "\n".join(server.output))
        with contextlib.suppress(OSError):
            if server.get("/v2/health/ready")[0] == 200:
                server.seconds_to_ready = time.monotonic() - started
                return
        time.sleep(0.02)
    raise AssertionError(f"not ready after {START_SECONDS} s")


@contextlib.contextmanager
def serve(models: Path = ROOT / "models", *options: str) -> Iterator[Server]:
    """`ziggurat serve MODELS` on a free port, ready to answer; killed on the way out if it still runs."""
    port = free_port()
    words = command("serve", str(models), "--host", "127.0.0.1", "--port", str(port), *options)
    started = time.monotonic()
    process = subprocess.Popen(
        words, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    server = Server(process, f"http://127.0.0.1:{port}")
    try:
        _wait_until_ready(server, started)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
