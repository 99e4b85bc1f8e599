"""python -m benchmarks.limits [--json] [--threads N] [--seconds S] [--isa NAME]: builds and runs the native program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "limits"


def build() -> Path:
    """The program, built anew where a source changed."""
    configure = ["cmake", "-S", str(ROOT / "native"), "-B", str(BUILD), "-G", "Ninja", "-DZIGGURAT_LIMITS=ON"]
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", str(BUILD), "--target", "limits"], check=True, stdout=sys.stderr)
    return BUILD / "limits"


def main() -> int:
    return subprocess.run([str(build()), *sys.argv[1:]], check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
