"""Reports files and Python functions above the budget (a report: tests/architecture fails only extremes)."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE_BUDGET = {".py": 250, ".h": 400, ".cc": 400, ".inl": 400}
FUNCTION_BUDGET = 30


def sources() -> list[Path]:
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    return [ROOT / name for name in names if Path(name).suffix in FILE_BUDGET and (ROOT / name).exists()]


def long_files(factor: float = 1.0) -> Iterator[tuple[Path, int]]:
    for path in sources():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > factor * FILE_BUDGET[path.suffix]:
            yield path.relative_to(ROOT), lines


def long_functions(factor: float = 1.0) -> Iterator[tuple[str, int]]:
    for path in sources():
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > factor * FUNCTION_BUDGET:
                    yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", lines


if __name__ == "__main__":
    for path, lines in sorted(long_files(), key=lambda row: -row[1]):
        print(f"above budget: {path}, {lines} lines")
    for name, lines in sorted(long_functions(), key=lambda row: -row[1]):
        print(f"above budget: {name}, {lines} lines")
