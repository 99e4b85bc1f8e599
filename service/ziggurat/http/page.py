"""The page at `/`: one self-contained document with the models, their state, and a panel to try one."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter, Response

from ziggurat.http.v2_routes import describe
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
    row |= {"state": status.state.value, "reason": status.reason, "inputs": [], "outputs": []}
    if status.model is not None:
        row["seconds"] = round(status.load_seconds, 3)
        row["inputs"] = [describe(spec) for spec in status.model.inputs]
        row["outputs"] = [describe(spec) for spec in status.model.outputs]
    return row
