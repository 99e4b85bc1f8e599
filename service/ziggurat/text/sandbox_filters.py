"""The filters and tests that chat templates may use, each charged to the rendering's budget before it works."""

from __future__ import annotations

import json
from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from functools import wraps
from typing import Any

from jinja2 import filters as jinja_filters
from jinja2 import pass_context
from jinja2 import tests as jinja_tests
from jinja2.runtime import Context, LoopContext

from ziggurat.text.budget import Budget, BudgetError
from ziggurat.text.sandbox_costs import compare_cost

MAX_INDENT = 16
_LAZY = (Iterator, KeysView, ValuesView, ItemsView, range)
# Those that make at most a small multiple of their input, as jinja2 has them.
_KEPT = """abs attr capitalize count d default dictsort e escape first float int items last length list lower max min
    reverse select selectattr reject rejectattr map sort string title trim truncate unique upper urlencode
    wordcount""".split()  # noqa: SIM905
_KEPT_TESTS = """boolean callable defined divisibleby even false filter float integer iterable lower mapping none
    number odd sameas sequence string test true undefined upper""".split()  # noqa: SIM905
_COMPARING = """== eq equalto != ne > gt greaterthan >= ge < lt lessthan <= le in""".split()  # noqa: SIM905


def _budget(context: Context) -> Budget:
    from ziggurat.text.sandbox import budget_of

    return budget_of(context)


def _read_out(budget: Budget, value: Any) -> Any:
    """Iterators become lists, so that no chain of lazy ones is built up; everything else stays."""
    if isinstance(value, _LAZY) and not isinstance(value, LoopContext):
        out = []
        for item in value:
            budget.charge(1)
            out.append(item)
        return out
    return value


def _charged(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter with its input and output charged. jinja2's own argument passing is kept by calling through it."""
    pass_arg = getattr(getattr(function, "jinja_pass_arg", None), "name", None)

    @wraps(function)
    def filter_(context: Context, value: Any = None, *args: Any, **kwargs: Any) -> Any:
        budget = _budget(context)
        value = _read_out(budget, value)
        budget.weigh(value)
        budget.weigh([*args, *kwargs.values()])
        made = _read_out(budget, function(*_first(context, pass_arg), value, *args, **kwargs))
        if isinstance(made, str):
            budget.charge(len(made))
            return str(made)
        return made

    return pass_context(filter_)


def _first(context: Context, pass_arg: str | None) -> list[Any]:
    passed = {"context": context, "eval_context": context.eval_ctx, "environment": context.environment}
    return [passed[pass_arg]] if pass_arg else []


def _tojson(
    context: Context,
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """transformers' `tojson`: plain JSON without the escapes that HTML needs."""
    budget = _budget(context)
    value = _read_out(budget, value)
    width = len(indent) if isinstance(indent, str) else int(indent or 0)
    if width > MAX_INDENT or any(len(part) > MAX_INDENT for part in separators or ()):
        raise BudgetError(f"it indents by more than {MAX_INDENT}")
    # Escapes may take six characters for one; each entry may begin with an indent per level.
    budget.charge(budget.weigh(value) * (5 + width * _depth(value)))
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        inner = [i for v in level for i in (v.values() if isinstance(v, dict) else v if isinstance(v, list) else ())]
        level = [i for i in inner if isinstance(i, dict | list)]
        depth += 1
    return depth


def _join(context: Context, value: Any, d: Any = "", attribute: str | int | None = None) -> str:
    budget = _budget(context)
    items = _read_out(budget, value)
    if attribute is not None:
        items = list(map(jinja_filters.make_attrgetter(context.environment, attribute), items))
    items = list(items)
    budget.charge(budget.weigh(items) + len(str(d)) * len(items))
    return str(d).join(map(str, items))


def _replace(context: Context, value: Any, old: str, new: str, count: int | None = None) -> str:
    text, old, new = str(value), str(old), str(new)
    _budget(context).charge(len(text) + text.count(old) * len(new))
    return text.replace(old, new, -1 if count is None else count)


def _indent(context: Context, value: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    text = str(value)
    size = len(width) if isinstance(width, str) else width
    if size > 1000:
        raise BudgetError("it indents by more than 1000")
    _budget(context).charge(len(text) + (text.count("\n") + 2) * size)
    return jinja_filters.do_indent(text, width, first, blank)


def _round(context: Context, value: float, precision: int = 0, method: str = "common") -> float:
    if abs(precision) > 100:
        raise BudgetError("it rounds to more than 100 places")
    return jinja_filters.do_round(value, precision, method)  # type: ignore[arg-type]


def _sum(context: Context, value: Any, attribute: str | int | None = None, start: Any = 0) -> Any:
    items = _read_out(_budget(context), value)
    if attribute is not None:
        items = map(jinja_filters.make_attrgetter(context.environment, attribute), items)
    total = start
    for item in items:
        total = context.environment.call_binop(context, "+", total, item)  # type: ignore[attr-defined]
    return total


def _center(context: Context, value: Any, width: int = 80) -> str:
    if width > 10_000:
        raise BudgetError("it pads to more than 10000 characters")
    _budget(context).charge(width + len(str(value)))
    return str(value).center(width)


def _format(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
    return context.environment.call_binop(context, "%", str(value), kwargs or args)  # type: ignore[attr-defined]


def _safe(context: Context, value: Any) -> str:
    """Nothing is escaped here, so everything is as safe as it will be."""
    _budget(context).weigh(value)
    return str(value)


def _comparing(test: Callable[..., bool]) -> Callable[..., bool]:
    @wraps(test)
    def charged(context: Context, value: Any, other: Any) -> bool:
        compare_cost(_budget(context), value, other)
        return test(value, other)

    return pass_context(charged)


_OWN: dict[str, Callable[..., Any]] = {
    "center": _center,
    "format": _format,
    "indent": _indent,
    "join": _join,
    "replace": _replace,
    "round": _round,
    "safe": _safe,
    "sum": _sum,
    "tojson": _tojson,
}
FILTERS = {name: _charged(jinja_filters.FILTERS[name]) for name in _KEPT} | {
    name: pass_context(function) for name, function in _OWN.items()
}
_LIBRARY: dict[str, Callable[..., Any]] = jinja_tests.TESTS  # type: ignore[assignment]
TESTS = {name: _LIBRARY[name] for name in _KEPT_TESTS} | {name: _comparing(_LIBRARY[name]) for name in _COMPARING}
