"""Layers are contracts in pyproject.toml; here they run, with the rules about who alone may import a library."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "service" / "ziggurat"

# library -> the only folders or files of the package that may import it
OWNERS = {
    "fastapi": ("http",),
    "starlette": ("http",),
    "uvicorn": ("cli.py", "app.py", "server.py", "http"),
    "typer": ("cli.py", "cli"),
    "prometheus_client": ("telemetry", "http"),
    "onnx": ("formats",),
    "ziggurat._native": ("engine",),
}
# what only tests may use: an engine that computes with another engine is none
FORBIDDEN = ("onnxruntime", "openvino", "torch", "tensorflow", "onnx.reference", "scipy", "sklearn")


def imports(source: str, package: str) -> Iterator[str]:
    """Absolute names of all that a module of `package` imports, at any depth."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_of(name: str, library: str) -> bool:
    return name == library or name.startswith(library + ".")


def test_imports_between_layers_point_down() -> None:
    # the linter puts the working directory on the path; the package lies in service/
    sys.path.insert(0, str(ROOT / "service"))
    try:
        assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0
    finally:
        sys.path.remove(str(ROOT / "service"))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_libraries_have_one_owner(path: Path) -> None:
    inside = path.relative_to(PACKAGE)
    package = ".".join(("ziggurat", *inside.parent.parts))
    for name in imports(path.read_text(encoding="utf-8"), package):
        assert not any(is_of(name, library) for library in FORBIDDEN), f"{inside} imports {name}"
        for library, owners in OWNERS.items():
            if is_of(name, library):
                assert inside.parts[0] in owners, f"{inside} imports {name}; only {owners} may"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_app_or_settings_is_made_at_import(path: Path) -> None:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.Call):
            made = ast.unparse(value.func).rpartition(".")[2]
            assert made not in {"FastAPI", "Starlette", "Settings", "Engine", "create_app"}, f"line {node.lineno}"


def test_the_reader_of_imports_sees_all_forms() -> None:
    source = "import a.b\nfrom . import c\nfrom ..d import e\ndef f():\n    from g import h\n"
    assert list(imports(source, "ziggurat.http")) == [
        "a.b", "ziggurat.http", "ziggurat.http.c", "ziggurat.d", "ziggurat.d.e", "g", "g.h",
    ]  # fmt: skip
