"""Figures that tests measure, printed once at the end of the run, whichever process measured them."""

from __future__ import annotations

import pytest

KEY = "figure"


class Figures:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.lines += [line for key, text in report.user_properties if key == KEY for line in str(text).split("\n")]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.lines:
            terminalreporter.section("figures")
            for line in self.lines:
                terminalreporter.line(line)
