"""Jinja for templates that come with a model file: nothing but plain values, and nothing without a budget.

jinja2's ImmutableSandboxedEnvironment keeps templates away from Python's internals. It does not stop one that loops or
grows without end, so here every loop and macro counts its rounds, every operation that makes something bigger charges
for it first (`budget.py`), and only the methods, filters and tests that are listed exist. What is listed follows
transformers' `apply_chat_template`: trim_blocks, lstrip_blocks, loopcontrols, `{% generation %}`, tojson.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace

from ziggurat.text.budget import Budget, BudgetError
from ziggurat.text.sandbox_costs import BINOPS, COMPARISONS, METHODS, charge_method, check_format, compare_cost
from ziggurat.text.sandbox_filters import FILTERS, TESTS
from ziggurat.text.sandbox_tree import Counting

BUDGET = "the budget"  # a name in the context that no template can spell
MAX_RANGE = 100_000

_JINJAS = (LoopContext, Macro, Cycler, Joiner, Namespace)


def budget_of(context: Context) -> Budget:
    found = context.resolve_or_missing(BUDGET)
    if not isinstance(found, Budget):
        raise SecurityError("rendering without a budget")
    return found


class SafeNamespace(Namespace):
    """Refuses underscored names, as transformers does, so that no internals can be stored or reached."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, rest = args[0], args[1:]
        attributes = dict(*rest, **kwargs)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or name.startswith("_"):
        raise SecurityError(f"a namespace cannot hold {name!r}")


class Generation(Extension):
    """`{% generation %}…{% endgeneration %}` marks what the model wrote, for training; here it is just its body."""

    tags = {"generation"}  # noqa: RUF012 - the library's own declaration

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class SafeEnvironment(ImmutableSandboxedEnvironment):
    """See the module. Thread-safe: a rendering's budget travels in its context."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, now: Callable[[str], str]) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # constants would be folded outside any budget
            extensions=[Generation, loopcontrols],
            finalize=_finalize,
            cache_size=0,
        )
        self.filters = dict(FILTERS)
        self.tests = dict(TESTS)
        self.globals = {
            "cycler": Cycler,
            "dict": _dict,
            "joiner": Joiner,
            "namespace": SafeNamespace,
            "raise_exception": _raise_exception,
            "range": _range,
            "strftime_now": lambda form: now(str(form)[:200]),
        }

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = Counting().visit(super()._parse(source, name, filename))
        return tree

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        allowed = METHODS.get(type(obj))
        if allowed is not None:
            return attr in allowed
        return isinstance(obj, _JINJAS) and not attr.startswith("_")

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is dict and attribute not in METHODS[dict]:
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        if type(obj) is str and attribute == "format":
            return _Format(self, obj)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(argument, tuple | Namespace):
            return self.undefined(obj=obj, name=str(type(argument)))
        return super().getitem(obj, argument)

    def call(self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        owner = getattr(__obj, "__self__", None)
        if owner is not None and type(owner) in METHODS:
            args = charge_method(budget_of(__context), owner, __obj.__name__, args)
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        BINOPS[operator](budget_of(context), left, right)
        return super().call_binop(context, operator, left, right)

    @staticmethod
    @pass_context
    def tick(context: Context, cost: int) -> bool:
        """Called at the head of each loop round and macro."""
        budget_of(context).charge(cost)
        return True

    @staticmethod
    @pass_context
    def concat_values(context: Context, *values: Any) -> str:
        """The operator `~`."""
        for value in values:
            budget_of(context).weigh(value)
        return "".join(map(str, values))

    @staticmethod
    @pass_context
    def compare(context: Context, name: str, left: Any, right: Any) -> Any:
        """Comparisons of two values that are both computed: lists that share their parts may take for ever."""
        compare_cost(budget_of(context), left, right)
        return COMPARISONS[name](left, right)

    @staticmethod
    @pass_context
    def part(context: Context, value: Any, *bounds: int | None) -> Any:
        """`value[start:stop:step]`."""
        if not isinstance(value, str | list | tuple):
            raise TypeError(f"{type(value).__name__} cannot be sliced")
        made = value[slice(*bounds)]
        budget_of(context).charge(len(made))
        return made

    @staticmethod
    def key(value: Any) -> Any:
        """A computed key of a dict display: hashing nested tuples may take for ever."""
        if isinstance(value, tuple):
            raise TypeError("a tuple is no key here")
        return value


@pass_context
def _finalize(context: Context, value: Any) -> Any:
    """What `{{ }}` writes."""
    if type(value) is str or isinstance(value, Undefined):
        budget_of(context).charge(len(value) if isinstance(value, str) else 0)
        return value
    budget_of(context).weigh(value)
    return value


@pass_context
def _range(context: Context, *args: int) -> list[int]:
    made = range(*args)
    if len(made) > MAX_RANGE:
        raise BudgetError(f"range() of more than {MAX_RANGE}")
    budget_of(context).charge(len(made))
    return list(made)


@pass_context
def _dict(context: Context, *args: Any, **kwargs: Any) -> dict[Any, Any]:
    budget_of(context).weigh(list(args))
    return dict(*args, **kwargs)


def _raise_exception(message: Any) -> None:
    raise TemplateError(str(message)[:2000])


class _Format:
    """`str.format` with the library's checks of attributes, and without huge widths."""

    def __init__(self, environment: SafeEnvironment, text: str) -> None:
        self._environment, self._text = environment, text

    @pass_context
    def __call__(self, context: Context, *args: Any, **kwargs: Any) -> Any:
        check_format(budget_of(context), self._text, [*args, *kwargs.values()])
        wrapped = self._environment.wrap_str_format(self._text.format)
        return None if wrapped is None else wrapped(*args, **kwargs)
