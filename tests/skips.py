"""Compares what a run skipped with tests/expected_skips.txt.

A line of that file is `WHEN  NODE-ID PATTERN -- REASON PATTERN`, both shell patterns. WHEN is `always` (the test skips
wherever the whole suite runs) or `may` (it depends on what the machine has).
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Expected:
    when: str
    nodeid: str
    reason: str


def parse(text: str) -> list[Expected]:
    found = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        where, separator, reason = line.partition(" -- ")
        when, _, nodeid = where.partition(" ")
        if not separator or when not in ("always", "may") or not nodeid.strip():
            raise ValueError(f"expected_skips.txt: cannot read {line!r}")
        found.append(Expected(when, nodeid.strip(), reason.strip()))
    return found


def differences(expected: list[Expected], skipped: dict[str, str], seen: set[str]) -> list[str]:
    """What `skipped` (node id -> reason) has that the list does not, and what it lacks of what always skips."""
    out = []
    for nodeid, reason in sorted(skipped.items()):
        if not any(fnmatchcase(nodeid, e.nodeid) and fnmatchcase(reason, e.reason) for e in expected):
            out.append(f"not in the list: {nodeid} -- {reason}")
    for entry in expected:
        if entry.when != "always":
            continue
        ran = [nodeid for nodeid in seen if fnmatchcase(nodeid, entry.nodeid) and nodeid not in skipped]
        out += [f"in the list as always, but it ran: {nodeid}" for nodeid in sorted(ran)]
        if not any(fnmatchcase(nodeid, entry.nodeid) for nodeid in seen):
            out.append(f"in the list as always, but there is no such test: {entry.nodeid}")
    return out


class SkipLedger:
    """Gathers skips in the main process; with --check-skips a difference fails the run."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self.enabled = bool(config.option.check_skips)
        self.path = path
        self.skipped: dict[str, str] = {}
        self.seen: set[str] = set()
        self.found: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seen.add(report.nodeid)
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.skipped[report.nodeid] = reason.removeprefix("Skipped: ")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.enabled:
            self.found = differences(parse(self.path.read_text(encoding="utf-8")), self.skipped, self.seen)
            if self.found and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.found:
            terminalreporter.section("skips differ from tests/expected_skips.txt")
            for line in self.found:
                terminalreporter.line(line)
