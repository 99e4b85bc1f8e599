"""What operations on plain values cost, charged before they are done."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from ziggurat.text.budget import Budget, BudgetError

MAX_WIDTH = 10_000  # characters that padding may add
METHODS: dict[type, frozenset[str]] = {
    str: frozenset(
        """capitalize casefold center count endswith find format index isalnum isalpha isascii isdecimal isdigit
        islower isnumeric isspace istitle isupper join ljust lower lstrip partition removeprefix removesuffix replace
        rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase title upper
        zfill""".split()  # noqa: SIM905
    ),
    dict: frozenset({"copy", "get", "items", "keys", "values"}),
    list: frozenset({"copy", "count", "index"}),
    tuple: frozenset({"count", "index"}),
    int: frozenset(),
    float: frozenset({"is_integer"}),
    bool: frozenset(),
    type(None): frozenset(),
}
_PADDING = {"center", "ljust", "rjust", "zfill"}
# Widths of four digits, or computed ones, as `%` and `str.format` write them.
_WIDE_PERCENT = re.compile(r"%(?:\([^)]*\))?[^%a-zA-Z]*?(?:\d{4}|\*)")
_WIDE_BRACES = re.compile(r"\{[^{}]*:[^{}]*\d{4}|\{[^{}]*\{")
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
    "in": lambda a, b: a in b,
    "notin": lambda a, b: a not in b,
}


def compare_cost(budget: Budget, left: Any, right: Any) -> None:
    """Charges for comparing containers, whose shared parts are compared as often as they occur."""
    if isinstance(left, list | tuple | dict):
        budget.weigh(left)
    if isinstance(right, list | tuple | dict):
        budget.weigh(right)


def charge_method(budget: Budget, owner: Any, name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Charges for what a method of a plain value is about to make; returns its arguments, iterators read out."""
    if name == "join" and args:
        items = list(args[0])
        budget.charge(len(owner) * len(items) + budget.weigh(items))
        return (items, *args[1:])
    if name == "replace" and len(args) >= 2 and isinstance(args[0], str) and isinstance(args[1], str):
        budget.charge(len(owner) + owner.count(args[0]) * len(args[1]))
    elif name in _PADDING and args and isinstance(args[0], int):
        if args[0] > MAX_WIDTH:
            raise BudgetError(f"it pads to more than {MAX_WIDTH} characters")
        budget.charge(len(owner) + MAX_WIDTH)
    elif name in ("count", "index") and not isinstance(owner, str):
        budget.weigh(owner)
        budget.weigh(list(args))
    elif name in ("get",) and args and isinstance(args[0], tuple):
        raise TypeError("a tuple is no key here")
    elif isinstance(owner, str | list | dict | tuple):
        budget.charge(2 * len(owner))
    return args


def check_format(budget: Budget, form: str, values: list[Any]) -> None:
    if _WIDE_PERCENT.search(form) or _WIDE_BRACES.search(form.replace("{{", "").replace("}}", "")):
        raise BudgetError("it formats to a width of thousands")
    # Each value may be written as often as the format has places.
    budget.charge(len(form) + (1 + form.count("%") + form.count("{")) * (1000 + budget.weigh(values)))


def _charge_plus(budget: Budget, left: Any, right: Any) -> None:
    if isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
        budget.charge(len(left) + len(right))


def _charge_times(budget: Budget, left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        budget.integer(left.bit_length() + right.bit_length())
    elif isinstance(left, int | str | list | tuple) and isinstance(right, int | str | list | tuple):
        count, value = (left, right) if isinstance(left, int) else (right, left)
        if isinstance(count, int) and not isinstance(value, int):
            budget.charge(max(count, 0) * len(value))


def _charge_power(budget: Budget, left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        budget.integer(left.bit_length() * abs(right))


def _charge_percent(budget: Budget, left: Any, right: Any) -> None:
    if isinstance(left, str):
        values = list(right) if isinstance(right, tuple) else [right]
        check_format(budget, left, values)


BINOPS: Mapping[str, Callable[[Budget, Any, Any], None]] = {
    "+": _charge_plus,
    "*": _charge_times,
    "**": _charge_power,
    "%": _charge_percent,
}
