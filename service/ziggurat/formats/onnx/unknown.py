"""Finds every operator that cannot be run before anything is built, so that the error lists them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ziggurat.errors import InvalidModel, Unsupported
from ziggurat.formats.onnx.builder import Builder
from ziggurat.formats.onnx.functions import opset_versions
from ziggurat.formats.onnx.order import label, subgraphs
from ziggurat.formats.onnx.schemas import OLDEST, RENAMED, Catalog

if TYPE_CHECKING:
    from ziggurat.formats.onnx.importer import FunctionKey

_MAX_LISTED = 40


class _Scan:
    def __init__(self, functions: Mapping[FunctionKey, Any], catalog: Catalog, builder: Builder) -> None:
        self.functions = functions
        self.catalog = catalog
        self.builder = builder
        self.unknown: Counter[str] = Counter()
        self.first: Any = None
        self._seen: set[FunctionKey] = set()

    def nodes(self, protos: Any, opsets: Mapping[str, int]) -> None:
        """Counts unknown operators; the body of a function is looked at once, however often it is called."""
        for node in protos:
            domain = "" if node.domain == "ai.onnx" else node.domain
            key = (domain, node.op_type, node.overload)
            function = self.functions.get(key)
            if function is None:
                self._check(node, domain, opsets)
            elif key not in self._seen:
                self._seen.add(key)
                self.nodes(function.node, opset_versions(function.opset_import))
            for graph in subgraphs(node):
                self.nodes(graph.node, opsets)

    def _check(self, node: Any, domain: str, opsets: Mapping[str, int]) -> None:
        if domain == "" and domain not in opsets:
            raise InvalidModel("the model imports no version of ai.onnx", node=label(node), op=node.op_type)
        problem = self._problem(domain, node.op_type, opsets.get(domain, 0))
        if problem is not None:
            self.unknown[problem] += 1
            self.first = self.first or node

    def _problem(self, domain: str, op: str, version: int) -> str | None:
        """How the error lists the operator, None for one that can be run."""
        if domain == "" and op == "Constant":
            return None
        if domain == "" and version < OLDEST and self._changed(op, version):
            return f"{op} (in the form of opset {version}, older than {OLDEST}; see onnx.version_converter)"
        newest = self.catalog.newest(domain, RENAMED.get(op, op) if domain == "" else op)
        if domain == "" and newest is not None and self.catalog.find(domain, op, version) is None:
            return f"{op} (not in opset {version} of ai.onnx)"
        if self.builder.knows(domain, RENAMED.get(op, op) if domain == "" else op):
            return None
        if newest is not None and newest.has_function:
            return None
        return f"{domain}.{op}" if domain else op

    def _changed(self, op: str, version: int) -> bool:
        """Whether the op's form before OLDEST differs from the one at OLDEST."""
        old, oldest = self.catalog.find("", op, version), self.catalog.find("", op, OLDEST)
        return old is not None and oldest is not None and old.since_version != oldest.since_version


def refuse_unknown_operators(
    graph: Any,
    opsets: Mapping[str, int],
    functions: Mapping[FunctionKey, Any],
    catalog: Catalog,
    builder: Builder,
) -> None:
    """
    Raises:
        Unsupported: lists every operator without an implementation, and how many nodes use it.
    """
    scan = _Scan(functions, catalog, builder)
    scan.nodes(graph.node, opsets)
    if not scan.unknown:
        return
    counts = [f"{op} ({count} node{'s' if count > 1 else ''})" for op, count in scan.unknown.most_common(_MAX_LISTED)]
    more = f" and {len(scan.unknown) - _MAX_LISTED} more" if len(scan.unknown) > _MAX_LISTED else ""
    noun = "operator is" if len(scan.unknown) == 1 else "operators are"
    raise Unsupported(
        f"{len(scan.unknown)} {noun} not supported: {', '.join(counts)}{more}",
        node=label(scan.first),
        op=scan.first.op_type,
    )
