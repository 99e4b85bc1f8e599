"""What holds for the repository as a whole."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tools.sizes import long_files, long_functions

ROOT = Path(__file__).parents[2]
EXTREME = 2.5  # times the budget: no longer a matter of taste


def tracked() -> list[Path]:
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def test_every_folder_with_sources_says_what_it_is() -> None:
    sources = {".py", ".cc", ".h", ".inl", ".cu"}
    folders = {path.parent for path in tracked() if path.suffix in sources}
    # tests mirror what they test: the first level below tests/ explains the rest
    folders = {f for f in folders if f.relative_to(ROOT).parts[:1] != ("tests",) or len(f.relative_to(ROOT).parts) <= 2}
    missing = sorted(str(f.relative_to(ROOT)) for f in folders if not (f / "README.md").exists())
    assert missing == [], "folders without a README.md"


def test_nothing_names_a_place_on_somebodys_machine() -> None:
    place = re.compile(r"(?<![\w.:/$}-])/(?:home|root|Users|work)/[\w.]+")
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in tracked()
        if path.name != "test_repository.py" and (text := text_of(path)) is not None
        for match in place.finditer(text)
    ]
    assert found == []


def test_no_source_is_of_extreme_size() -> None:
    assert [f"{path}: {lines} lines" for path, lines in long_files(EXTREME)] == []
    assert [f"{name}: {lines} lines" for name, lines in long_functions(EXTREME)] == []


def test_no_test_module_skips_while_it_is_imported() -> None:
    """Such a skip does not reach the ledger that compares skips with tests/expected_skips.txt."""
    early = re.compile(r"^(?:\w+ = )?pytest\.(?:importorskip|skip)\(|allow_module" + "_level", re.MULTILINE)
    for path in (ROOT / "tests").rglob("*.py"):
        assert not early.search(path.read_text(encoding="utf-8")), path.relative_to(ROOT)


def test_binaries_are_small_and_few() -> None:
    large = {str(p.relative_to(ROOT)): p.stat().st_size for p in tracked() if p.stat().st_size > 600_000}
    # The one model that cannot be smaller: readable text takes some two million parameters.
    assert large.pop("models/dictionary/model.safetensors", 0) < 10_000_000
    assert large == {}
