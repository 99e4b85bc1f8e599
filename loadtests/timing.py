"""What servers say about where their time went (the Server-Timing header), as rows of their own in Locust's table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from locust.env import Environment

_PART = re.compile(r"(\w+);dur=([\d.]+)")
KIND = "SERVER"


def parts(header: str) -> dict[str, float]:
    """Milliseconds by name: "queue;dur=0.1, compute;dur=2" is {"queue": 0.1, "compute": 2.0}."""
    return {name: float(text) for name, text in _PART.findall(header)}


def record(environment: Environment, header: str) -> None:
    for name, milliseconds in parts(header).items():
        environment.stats.log_request(KIND, name, milliseconds, 0)
