"""On a machine that lacks something, one line names it with the command that installs it; nothing else happens."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def setup(**knobs: str) -> list[str]:
    done = subprocess.run(
        [str(ROOT / "tools" / "setup")], env={**os.environ, **knobs}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr.splitlines()


def fake(folder: Path, name: str, prints: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{prints}'\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_no_python_and_no_compiler_are_one_line() -> None:
    assert setup(PYTHON="no-such-python", CXX="no-such-compiler") == [
        "ziggurat: missing: python3 >= 3.11 (none found), a C++20 compiler (no no-such-compiler). "
        "Install with: sudo apt install python3 python3-venv python3-dev g++"
    ]


def test_an_old_compiler_is_named_with_its_version(tmp_path: Path) -> None:
    assert setup(CXX=fake(tmp_path, "g++", "10.2.1")) == [
        "ziggurat: missing: g++ >= 12 (10.2.1 found; CXX=g++-12 picks another). Install with: sudo apt install g++-12"
    ]


def test_an_old_python_is_named_with_its_version(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.9.2"\nexit 1\n', encoding="utf-8")
    old.chmod(0o755)
    assert setup(PYTHON=str(old)) == [
        "ziggurat: missing: python3 >= 3.11 (3.9.2 found). "
        "Install with: sudo apt install python3 python3-venv python3-dev"
    ]
