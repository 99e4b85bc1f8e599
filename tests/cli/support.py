"""The command as a process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.http.support import until

SERVICE = Path(__file__).parents[2] / "service"


def environment(**variables: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(SERVICE), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "120", "NO_COLOR": "1", **variables}


def ziggurat(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    command = [sys.executable, "-m", "ziggurat", *words]
    return subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True, timeout=120, check=False
    )


class Server:
    """A running `ziggurat serve`; `output` grows as it speaks."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.output = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def port(self) -> int:
        self.says("is serving on")
        found = re.search(r"is serving on http://127\.0\.0\.1:(\d+)", self.output)
        assert found, self.output
        return int(found[1])

    def says(self, text: str) -> None:
        """Waits until it has said so."""
        until(lambda: text in self.output or self.process.poll() is not None, f"it says {text!r}")

    def end(self) -> int:
        """Waits for the end and returns the exit status."""
        status = self.process.wait(60)
        self._reader.join(10)
        return status

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line


@contextmanager
def serve(*words: str, **variables: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "ziggurat", "serve", "--port", "0", *words]
    process = subprocess.Popen(
        command, env=environment(**variables), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with process:
        try:
            yield Server(process)
        finally:
            if process.poll() is None:
                process.kill()
