"""Each folder of native/ may include only itself and the folders above it in this list."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "native"
ORDER = ("base", "tensor", "memory", "ir", "ops", "device", "passes", "cpu", "gpu", "runtime", "llm", "bindings")
STRANGERS = {("gpu", "cpu")}  # (who, whom): backends do not know one another
# (folder, header) that .cc files, not headers, may include against the order, and why
EXCEPTIONS = {
    ("ir", "ops/op_def.h"): "a node points at its descriptor, whose type ops/ declares; ir/ itself knows no op",
    ("ir", "ops/infer.h"): "adding a node infers its types through the descriptor",
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
FILES = sorted(path for path in NATIVE.rglob("*") if path.suffix in {".h", ".cc", ".inl", ".inc"})


def complaint(folder: str, included: str) -> str | None:
    """Why a file of `folder` may not include `included`, or None."""
    target = included.partition("/")[0]
    if "/" not in included:
        return f'"{included}": includes are written from native/'
    if target not in ORDER:
        return f'"{included}": not a folder of native/'
    if ORDER.index(target) > ORDER.index(folder) or (folder, target) in STRANGERS:
        return f'{folder}/ may not include "{included}"'
    return None


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(NATIVE)))
def test_includes_point_up_the_list(path: Path) -> None:
    folder = path.relative_to(NATIVE).parts[0]
    assert folder in ORDER
    text = path.read_text(encoding="utf-8")
    included = INCLUDE.findall(text)
    if path.suffix == ".cc":
        included = [name for name in included if (folder, name) not in EXCEPTIONS]
    assert [c for c in (complaint(folder, name) for name in included) if c] == []


def test_kernel_units_know_only_shapes_and_their_own_folder() -> None:
    """They are compiled once per instruction set: an inline function shared with plain code could leak into it."""
    for path in (NATIVE / "cpu" / "kernels").rglob("*"):
        if path.suffix in {".h", ".cc", ".inl"}:
            for name in INCLUDE.findall(path.read_text(encoding="utf-8")):
                assert name.startswith(("cpu/", "tensor/", "base/")), f"{path.name} includes {name}"


def test_the_rule_refuses_what_it_should() -> None:
    assert complaint("ops", "ir/graph.h") is None
    assert complaint("runtime", "cpu/kernel_table.h") is None
    assert complaint("ir", "ops/registry.h") == 'ir/ may not include "ops/registry.h"'
    assert complaint("gpu", "cpu/simd.h") == 'gpu/ may not include "cpu/simd.h"'
    assert complaint("cpu", "simd.h") is not None
