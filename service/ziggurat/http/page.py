"""The page at `/`: one self-contained document with the models, their state, and a panel to try one."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter, Response

from ziggurat.http.v2_routes import tensors_of
from ziggurat.serving.registry import State
from ziggurat.version import __version__

if TYPE_CHECKING:
    from ziggurat.serving.registry import Entry
    from ziggurat.serving.serving import Serving

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"


def router(serving: Serving, server_name: str) -> APIRouter:
    template = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    result = APIRouter()

    @result.get("/", include_in_schema=False)
    async def show() -> Response:
        state = {
            "name": server_name,
            "version": __version__,
            "ready": serving.ready(),
            "models": [_row(entry) for entry in serving.registry.entries()],
        }
        # "<" could end the script element that the data stands in; as \u003c it cannot.
        data = orjson.dumps(state).decode().replace("<", "\\u003c")
        headers = {"content-security-policy": _POLICY, "cache-control": "no-store", "x-content-type-options": "nosniff"}
        return Response(template.replace("{{state}}", data), 200, headers, "text/html; charset=utf-8")

    return result


def _row(entry: Entry) -> dict[str, Any]:
    status = entry.status
    row: dict[str, Any] = {"name": entry.name, "version": entry.version}
    row |= {"kind": entry.kind, "state": status.state.value, "reason": status.reason}
    row["inputs"], row["outputs"] = tensors_of(status)
    if status.state is State.READY:
        row["seconds"] = round(status.load_seconds, 3)
    if status.language is not None:
        row |= {"generates": status.language.generates, "chat": status.language.has_template}
    return row
