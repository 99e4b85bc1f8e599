"""What rendering a template may cost. Every operation that makes something big says so before it does."""

from __future__ import annotations

import time
from typing import Any

MAX_DEPTH = 100  # of nested lists and dicts
MAX_INT_BITS = 4096


class BudgetError(Exception):
    """A template used up what it was given; `what` says of which kind."""


class Budget:
    """Characters (and list entries) that may be made, and seconds that may pass, in one rendering.

    In-process limits hold because nothing that a template can call takes long without being counted here first: the
    work of each operation is at most proportional to what was charged for it.
    """

    def __init__(self, work: int, seconds: float) -> None:
        self.left = work
        self.work = work
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def charge(self, amount: int) -> None:
        """Takes `amount` off, and looks at the clock.

        Raises:
            BudgetError: Not enough is left.
        """
        self.left -= amount + 1
        if self.left < 0:
            raise BudgetError(f"it makes more than {self.work} characters and list entries")
        if time.monotonic() > self._end:
            raise BudgetError(f"it runs longer than {self.seconds:g} s")

    def weigh(self, value: Any) -> int:
        """Charges for a value written out, shared parts as often as they occur, and returns what was charged.

        Raises:
            BudgetError: It is too big, or nested too deeply.
        """
        if type(value) is str:
            self.charge(len(value))
            return len(value)
        before = self.left
        stack = [(value, 0)]
        while stack:
            item, depth = stack.pop()
            if depth > MAX_DEPTH:
                raise BudgetError(f"it nests lists deeper than {MAX_DEPTH}")
            if isinstance(item, str):
                self.charge(len(item))
            elif isinstance(item, list | tuple):
                self.charge(2 * len(item))
                stack += [(inner, depth + 1) for inner in item]
            elif isinstance(item, dict):
                self.charge(4 * len(item))
                stack += [(inner, depth + 1) for pair in item.items() for inner in pair]
            else:
                self.charge(8)
        return before - self.left

    def integer(self, bits: int) -> None:
        """Refuses whole numbers of more than MAX_INT_BITS, whose arithmetic takes long."""
        if bits > MAX_INT_BITS:
            raise BudgetError(f"it computes a number of more than {MAX_INT_BITS} bits")
