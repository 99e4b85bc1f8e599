"""The core reads no environment, writes to no console and keeps no state in the process; kernels export only tables."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "native"
FILES = sorted(path for path in NATIVE.rglob("*") if path.suffix in {".h", ".cc", ".inl", ".inc"})
PROGRAMS = {"bench"}  # folders of native/ that hold programs, which may print

FORBIDDEN = {
    "reads the environment": re.compile(r"\b(?:secure_)?getenv\s*\("),
    "writes to the console": re.compile(r"\bstd::(?:cout|cerr|clog)\b|(?<![\w:])(?:std::)?f?printf\s*\("),
    "ends the process": re.compile(r"\b(?:std::)?(?:abort|_?exit|quick_exit|terminate)\s*\(\s*\d*\s*\)"),
    "keeps a thread-local": re.compile(r"\bthread_local\b"),
}
# file -> (rule, why it may)
ALLOWED = {
    "base/thread_pool.cc": ("keeps a thread-local", "says whose task this thread is inside of; null outside of any"),
}
# symbols in writable sections that may be there, each with the reason above
ALLOWED_STATE = {"ziggurat::ThreadPool::Impl::innermost"}

# Sections whose bytes can change while the program runs. .data.rel.ro is constant once loaded.
WRITABLE = re.compile(r"^\.(?:bss|data|tbss|tdata)(?!\.rel\.ro)")


def code(text: str) -> str:
    """The text without comments and string literals."""
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(NATIVE)))
def test_sources_touch_nothing_of_the_process(path: Path) -> None:
    name = str(path.relative_to(NATIVE))
    if name.partition("/")[0] in PROGRAMS:
        return
    text = code(path.read_text(encoding="utf-8"))
    for rule, pattern in FORBIDDEN.items():
        if ALLOWED.get(name, ("",))[0] != rule:
            assert not pattern.search(text), f"{name} {rule}"


def build_folder() -> Path:
    """The newest finished native build of this checkout."""
    built = [archive.parent for archive in (ROOT / "build").glob("*/libziggurat_core.a")]
    if not built or not shutil.which("objdump"):
        pytest.skip("no native build in build/, or no objdump")
    return max(built, key=lambda folder: (folder / "libziggurat_core.a").stat().st_mtime)


def symbols(*arguments: str) -> list[str]:
    command = ["objdump", "--syms", "--demangle", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_core_has_no_mutable_statics() -> None:
    found = []
    for line in symbols(str(build_folder() / "libziggurat_core.a")):
        # address, flags, section, size, name
        match = re.match(r"^[0-9a-f]+ (.{7}) (\S+)\s+([0-9a-f]+) +(?:\.hidden )?(.*)$", line)
        if match and "d" not in match[1] and WRITABLE.match(match[2]) and int(match[3], 16):
            found.append(f"{match[4]} in {match[2]}")
    ignored = re.compile(r"DW\.ref\.|std::|__gnu")
    found = [name for name in found if not ignored.search(name) and name.partition(" in ")[0] not in ALLOWED_STATE]
    assert found == [], "the core's state hangs on the Engine"


def kernel_objects() -> list[Path]:
    return sorted(build_folder().glob("CMakeFiles/kernels_*.dir/**/*.o"))


def test_kernel_objects_export_only_tables() -> None:
    """A weak symbol (an inline function, a template) compiled for AVX-512 may be the one the linker keeps for all."""
    objects = kernel_objects()
    assert objects
    found = []
    for path in objects:
        isa = path.relative_to(build_folder()).parts[1].removeprefix("kernels_").removesuffix(".dir")
        output = subprocess.run(["nm", "--demangle", str(path)], capture_output=True, text=True, check=True).stdout
        for line in output.splitlines():
            kind, _, name = line[17:].partition(" ")
            inside = name.startswith(f"ziggurat::cpu::{isa}::")
            leaks = kind in "WVuTBDC" or (kind in "bd" and not name.startswith(".") and "rel.ro" not in name)
            if kind == "d" and inside:
                leaks = False  # tables of pointers; what is writable among them is caught by the test above
            if leaks and not inside:
                found.append(f"{path.parent.parent.name}/{path.name}: {kind} {name}")
    assert found == []


def test_the_patterns_see_what_they_should() -> None:
    assert FORBIDDEN["reads the environment"].search(code("auto x = std::getenv(name);"))
    assert FORBIDDEN["writes to the console"].search(code('printf("x");'))
    assert not FORBIDDEN["writes to the console"].search(code('snprintf(b, 9, "printf("); // printf("x")'))
    assert WRITABLE.match(".bss._ZL1x")
    assert WRITABLE.match(".data")
    assert not WRITABLE.match(".data.rel.ro.local")
