"""A plan as a picture: one box a step, arrows for the values between them, times where the plan was profiled. The
result of a box with a dashed frame lies in another value: the box says in which where the pointer rests on it.

Steps are put in layers by the longest way from an input, and ordered in a layer by where their inputs are: enough for
the shallow, branching graphs that models are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 190, 46, 26, 30, 20
COLOURS = {"Conv": "#cfe3f5", "Gemm": "#f5ddc8", "MatMul": "#f5ddc8", "input": "#e6e6e6", "output": "#e6e6e6"}
OTHER = "#eef3e6"


@dataclass
class Box:
    title: str
    lines: list[str]
    reads: list[int] = field(default_factory=list)  # boxes whose values it takes
    place: str = ""  # of its first result, where that lies in another value
    share: float = 0.0  # of the whole time
    layer: int = 0
    column: float = 0.0


def svg(graph: Sequence[dict[str, Any]], times: Sequence[float] | None = None) -> str:
    """The drawing of `Plan.graph`; `times` are microseconds, one for each row that is neither input nor output."""
    boxes = _boxes(graph, times)
    _place(boxes)
    width = MARGIN * 2 + (max((box.column for box in boxes), default=0) + 1) * (WIDTH + GAP_X)
    height = MARGIN * 2 + (max((box.layer for box in boxes), default=0) + 1) * (HEIGHT + GAP_Y)
    body = [_arrow(boxes[source], box) for box in boxes for source in dict.fromkeys(box.reads)]
    body += [_drawn(box) for box in boxes]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="11">\n'
        '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _boxes(graph: Sequence[dict[str, Any]], times: Sequence[float] | None) -> list[Box]:
    total = sum(times) if times else 0.0
    left = iter(times or ())
    boxes: list[Box] = []
    maker: dict[str, int] = {}
    for row in graph:
        ends = row["op"] in ("input", "output")
        lines = [row["node"] if ends else row["kernel"], *row["types"][:1]]
        box = Box(row["op"], lines, [maker[name] for name in row["inputs"] if name in maker])
        box.place = next((place for place in row["places"] if " of %" in place), "")
        if times and not ends:
            time = next(left)
            box.share = time / total if total else 0.0
            box.title += f"  {time:.0f} µs ({box.share:.1%})"
        maker.update(dict.fromkeys(row["outputs"], len(boxes)))
        boxes.append(box)
    return boxes


def _place(boxes: list[Box]) -> None:
    for box in boxes:  # steps come in order: what a box reads has its layer already
        box.layer = 1 + max((boxes[i].layer for i in box.reads), default=-1)
    layers: dict[int, list[Box]] = {}
    for box in boxes:
        layers.setdefault(box.layer, []).append(box)
    for layer in sorted(layers):
        row = layers[layer]
        row.sort(key=lambda box: sum(boxes[i].column for i in box.reads) / max(len(box.reads), 1))
        for column, box in enumerate(row):
            box.column = float(column)


def _corner(box: Box) -> tuple[float, float]:
    return MARGIN + box.column * (WIDTH + GAP_X), MARGIN + box.layer * (HEIGHT + GAP_Y)


def _arrow(source: Box, target: Box) -> str:
    (x0, y0), (x1, y1) = _corner(source), _corner(target)
    x0, y0, x1 = x0 + WIDTH / 2, y0 + HEIGHT, x1 + WIDTH / 2
    bend = (y1 - y0) / 2
    return (
        f'<path d="M{x0:.0f},{y0:.0f} C{x0:.0f},{y0 + bend:.0f} {x1:.0f},{y1 - bend:.0f} {x1:.0f},{y1:.0f}" '
        'fill="none" stroke="#888"/>'
    )


def _drawn(box: Box) -> str:
    x, y = _corner(box)
    kind = next((word for word in COLOURS if word in box.title), "")
    heat = f'<rect x="{x:.0f}" y="{y:.0f}" width="{WIDTH * box.share:.1f}" height="3" fill="#c0392b"/>'
    texts = [f'<text x="{x + 6:.0f}" y="{y + 14:.0f}" font-weight="bold">{escape(box.title)}</text>']
    texts += [
        f'<text x="{x + 6:.0f}" y="{y + 27 + 12 * i:.0f}" fill="#444">{escape(_short(line))}</text>'
        for i, line in enumerate(box.lines[:2])
    ]
    dashes = ' stroke-dasharray="4 2"' if box.place else ""
    frame = (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="4" '
        f'fill="{COLOURS.get(kind, OTHER)}" stroke="#777"{dashes}/>'
    )
    drawn = frame + (heat if box.share else "") + "".join(texts)
    return f"<g><title>{escape(box.place)}</title>{drawn}</g>" if box.place else drawn


def _short(text: str, limit: int = 32) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
