"""Puts the budget's questions into a parsed template, where jinja2's sandbox has no hook of its own."""

from __future__ import annotations

from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.visitor import NodeTransformer


class Counting(NodeTransformer):
    """Puts the budget's calls into a parsed template."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - the library's way of naming
        self.generic_visit(node)
        if node.test is not None:
            node.test = _at(node, nodes.And(_call(node, "tick", nodes.Const(1)), node.test))
        node.body = [_tick(node, node.body), *node.body]
        return node

    def visit_Import(self, node: nodes.Node) -> nodes.Node:  # noqa: N802
        raise SecurityError("it reads other templates, of which there are none")

    visit_FromImport = visit_Import  # noqa: N815
    visit_Include = visit_Import  # noqa: N815
    visit_Extends = visit_Import  # noqa: N815

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.body = [_tick(node, node.body), *node.body]
        return node

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.body = [_tick(node, node.body), *node.body]
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _call(node, "concat_values", *node.nodes)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        left, made = node.expr, None
        for operand in node.ops:
            step: nodes.Expr = nodes.Compare(left, [operand])
            if not _plain(left) and not _plain(operand.expr):
                step = _call(node, "compare", nodes.Const(operand.op), left, operand.expr)
            made = _at(node, step) if made is None else _at(node, nodes.And(made, step))
            left = operand.expr
        return made or node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        bounds = [part or nodes.Const(None) for part in (node.arg.start, node.arg.stop, node.arg.step)]
        return _call(node, "part", node.node, *bounds)

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if not _plain(node.key):
            node.key = _call(node, "key", node.key)
        return node


def _at(node: nodes.Node, made: Any) -> Any:
    return made.set_lineno(node.lineno, override=False).set_environment(node.environment)


def _call(node: nodes.Node, name: str, *args: nodes.Expr) -> nodes.Call:
    made: nodes.Call = _at(node, nodes.Call(nodes.EnvironmentAttribute(name), list(args), [], None, None))
    return made


def _tick(node: nodes.Node, body: list[nodes.Node]) -> nodes.Node:
    """Its cost covers what one round writes and makes without asking: literal text, displays."""
    size = sum(len(data.data) for part in body for data in part.find_all(nodes.TemplateData))
    size += sum(1 for part in body for _ in part.find_all(nodes.Expr))
    made: nodes.Node = _at(node, nodes.ExprStmt(_call(node, "tick", nodes.Const(size))))
    return made


def _plain(node: nodes.Expr) -> bool:
    """A constant, or a display of constants: comparing with it takes no longer than its own size."""
    if isinstance(node, nodes.List | nodes.Tuple):
        return all(isinstance(item, nodes.Const) for item in node.items)
    return isinstance(node, nodes.Const)
