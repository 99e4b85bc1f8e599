"""Execution order of a graph's nodes: the file's order if it works, otherwise a topological one."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ziggurat.errors import InvalidModel

_MAX_NAMED = 12  # how many nodes of a cycle the error names


def label(node: Any) -> str:
    """What errors call a node: its name, otherwise its first output's."""
    return str(node.name or next((name for name in node.output if name), node.op_type))


def subgraphs(node: Any) -> Iterator[Any]:
    """The graphs among a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def used_names(node: Any) -> set[str]:
    """Every name a node needs: its inputs, and what its subgraphs take from outside."""
    names = {name for name in node.input if name}
    for graph in subgraphs(node):
        names |= _captures(graph)
    return names


def _captures(graph: Any) -> set[str]:
    needed = {value.name for value in graph.output}
    own = {value.name for value in graph.input}
    own.update(tensor.name for tensor in graph.initializer)
    own.update(tensor.values.name for tensor in graph.sparse_initializer)
    for node in graph.node:
        own.update(node.output)
        needed |= used_names(node)
    return needed - own


def in_order(nodes: Sequence[Any], is_defined: Callable[[str], bool]) -> Sequence[Any]:
    """The nodes such that each comes after the producers of what it uses.

    `is_defined` says whether a name exists before any node has run: inputs, initializers, outer graphs.

    Raises:
        InvalidModel: a name produced twice or by nobody, or a cycle, whose nodes are named.
    """
    producer: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in node.output:
            if name and producer.setdefault(name, index) != index:
                raise InvalidModel(
                    f"two nodes produce this tensor, the other one is '{label(nodes[producer[name]])}'",
                    node=label(node),
                    op=node.op_type,
                    tensor=name,
                )
    needs = [_producers(node, producer, is_defined) for node in nodes]
    if all(all(need < index for need in needed) for index, needed in enumerate(needs)):
        return nodes
    return [nodes[index] for index in _sorted(nodes, needs)]


def _producers(node: Any, producer: dict[str, int], is_defined: Callable[[str], bool]) -> set[int]:
    """The nodes that have to run before this one."""
    found = set()
    for name in used_names(node):
        if name in producer:
            found.add(producer[name])
        elif not is_defined(name):
            raise InvalidModel("nothing produces this tensor", node=label(node), op=node.op_type, tensor=name)
    return found


def _sorted(nodes: Sequence[Any], needs: list[set[int]]) -> list[int]:
    """Kahn's algorithm; of the nodes that could come next, the one that is first in the file."""
    users: list[list[int]] = [[] for _ in nodes]
    for index, needed in enumerate(needs):
        for need in needed:
            users[need].append(index)
    waiting = [len(needed) for needed in needs]
    ready = [index for index, count in enumerate(waiting) if count == 0]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for user in users[index]:
            waiting[user] -= 1
            if waiting[user] == 0:
                heapq.heappush(ready, user)
    if len(order) < len(nodes):
        raise _cycle(nodes, needs, set(range(len(nodes))) - set(order))
    return order


def _cycle(nodes: Sequence[Any], needs: list[set[int]], stuck: set[int]) -> InvalidModel:
    """Every stuck node needs a stuck node, so walking from need to need comes back to where it was."""
    path: list[int] = []
    place: dict[int, int] = {}
    index = min(stuck)
    while index not in place:
        place[index] = len(path)
        path.append(index)
        index = min(needs[index] & stuck)
    cycle = path[place[index] :][::-1]
    first_in_file = cycle.index(min(cycle))
    cycle = cycle[first_in_file:] + cycle[:first_in_file]
    named = " -> ".join(f"'{label(nodes[i])}'" for i in [*cycle[:_MAX_NAMED], cycle[0]])
    more = f" ({len(cycle)} nodes)" if len(cycle) > _MAX_NAMED else ""
    first = nodes[cycle[0]]
    return InvalidModel(f"the graph has a cycle: {named}{more}", node=label(first), op=first.op_type)
