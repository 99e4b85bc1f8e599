"""`_native.pyi` is what mypy believes; the built module is what is true."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from types import ModuleType

import pytest

STUB = Path(__file__).parents[2] / "service" / "ziggurat" / "_native.pyi"


@pytest.fixture(scope="module")
def native() -> ModuleType:
    try:
        return importlib.import_module("ziggurat._native")
    except ModuleNotFoundError:
        pytest.skip("the native module is not built")


def names(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


def public(thing: object) -> set[str]:
    return {name for name in vars(thing) if not name.startswith("_")}


def test_the_stub_lists_exactly_what_the_module_offers(native: ModuleType) -> None:
    stub = names(ast.parse(STUB.read_text(encoding="utf-8")).body)
    assert {name for name in stub if not name.startswith("_")} == public(native)


def test_the_stub_lists_exactly_the_members_of_each_class(native: ModuleType) -> None:
    for name, node in names(ast.parse(STUB.read_text(encoding="utf-8")).body).items():
        if isinstance(node, ast.ClassDef) and not name.startswith("_"):
            listed = {member for member in names(node.body) if not member.startswith("_")}
            assert listed == public(getattr(native, name)), name
