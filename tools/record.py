"""Writes what a complete test run said, with the commit and the machine, as Markdown: record.py LOG NATIVE_STATUS."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path


def git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main(log: str, native_status: str) -> None:
    lines = Path(log).read_text(encoding="utf-8").splitlines()
    closing = next((line.strip("= ") for line in reversed(lines) if " passed" in line or " failed" in line), "none")
    figures = [line for line in lines if line.startswith("node suite")]
    dirty = " with uncommitted changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    print("# The last complete test run\n\nWritten by `make test-all`.\n")
    print(f"- commit: {git('rev-parse', 'HEAD')}{dirty}")
    print(f"- date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d}")
    print(f"- machine: {processor()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    print(f"- native tests: {'passed' if native_status == '0' else 'FAILED'}")
    print(f"- pytest: {closing}")
    for line in figures:
        print(f"- {line}")


if __name__ == "__main__":
    main(*sys.argv[1:])
