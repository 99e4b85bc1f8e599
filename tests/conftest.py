"""Tiers of tests, the commit-seeded sample of the heavy ones, and the check of what was skipped."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import figures
from tests.skips import SkipLedger

ROOT = Path(__file__).parent.parent
HEAVY_SAMPLE = 6  # how many heavy tests continuous integration adds; each takes up to a minute or so


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ziggurat")
    group.addoption("--heavy", choices=("none", "sample", "all"), default="none", help="which heavy tests run")
    group.addoption("--seed", default=None, help="what picks samples; default: the commit")
    group.addoption("--v2-url", default=None, help="the server that tests/v2 asks; default: one of ours")
    group.addoption("--check-skips", action="store_true", help="fail if the skips differ from tests/expected_skips.txt")


def commit() -> str:
    """The checked-out commit, or "0" outside a repository."""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "0"


def pytest_configure(config: pytest.Config) -> None:
    if config.option.seed is None:
        config.option.seed = commit()
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkipLedger(config, ROOT / "tests" / "expected_skips.txt"), "skip-ledger")
        config.pluginmanager.register(figures.Figures(), "figures")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    heavy = [item for item in items if item.get_closest_marker("heavy")]
    if config.option.heavy == "all" or not heavy:
        return

    def draw(item: pytest.Item) -> bytes:
        return hashlib.sha256(f"{config.option.seed} {item.nodeid}".encode()).digest()

    kept = sorted(heavy, key=draw)[:HEAVY_SAMPLE] if config.option.heavy == "sample" else []
    dropped = {item.nodeid for item in heavy} - {item.nodeid for item in kept}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in dropped])
    items[:] = [item for item in items if item.nodeid not in dropped]


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """Changes with the commit, and only with it: samples drawn from it differ from commit to commit, never within."""
    return int(hashlib.sha256(str(request.config.option.seed).encode()).hexdigest()[:8], 16)


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Call it with a line or more of text, to be printed at the end of the run."""
    return lambda text: request.node.user_properties.append((figures.KEY, text))
