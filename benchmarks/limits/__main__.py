"""python -m benchmarks.limits [--json] [--threads N] [--seconds S] [--isa NAME]: builds and runs the native program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "build" / "release"  # what tools/setup configures
ALONE = ROOT / "build" / "limits"  # where there is no such build


def build(target: str = "limits") -> Path:
    """A native program of the benchmarks, built anew where a source changed."""
    folder = RELEASE if (RELEASE / "build.ninja").exists() else ALONE
    # Beside the interpreter lie the tools of its environment, activated or not.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    configure = ["cmake", "-S", str(ROOT / "native"), "-B", str(folder), "-G", "Ninja", "-DZIGGURAT_LIMITS=ON"]
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL, env=environment)
    command = ["cmake", "--build", str(folder), "--target", target]
    subprocess.run(command, check=True, stdout=sys.stderr, env=environment)
    return folder / target


def multiply_add_peak(threads: int) -> float:
    """Float32 operations per second that `threads` threads reach together; a multiply-add is two."""
    command = [str(build()), "--json", "--threads", str(threads), "--seconds", "0.05"]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["rows"]
    return 1e9 * max(row["value"] for row in rows if row["what"].startswith("float32 multiply-add"))


def main() -> int:
    return subprocess.run([str(build()), *sys.argv[1:]], check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
