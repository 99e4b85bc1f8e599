"""JSON documents of the routes beside inference: read within limits, with errors that name the key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import Response

from ziggurat.errors import InvalidArgument
from ziggurat.http.bodies import Framing, decompress, read_body

if TYPE_CHECKING:
    from fastapi import Request

    from ziggurat.settings import LimitSettings


EARLY = 64 << 10  # bytes of a body that are parsed on the event loop; longer ones (models) go to a thread


def json_response(document: Any, status: int = 200) -> Response:
    headers = {"retry-after": "1"} if status == 503 else None
    return Response(orjson.dumps(document), status, headers, "application/json")


async def read_document(request: Request, limits: LimitSettings) -> dict[str, Any]:
    """The request's JSON object; an empty body is an empty object. Raises InvalidArgument, TooLarge."""
    framing = Framing(request.scope["headers"])
    framing.check(limits.body)
    body = await read_body(request.receive, limits.body, limits.timeout or None, framing.length)
    if framing.encoding is None and len(body) <= EARLY:
        return _parse(body)
    return await asyncio.to_thread(_parse_long, body, framing.encoding, limits.body)


def _parse_long(body: bytes | memoryview, encoding: str | None, limit: int) -> dict[str, Any]:
    return _parse(decompress(body, encoding, limit) if encoding else body)


def _parse(body: bytes | memoryview) -> dict[str, Any]:
    if len(body) <= EARLY and not bytes(body).strip():
        return {}
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"the request is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidArgument(f"the request must be a JSON object, got {type(document).__name__}")
    return document


def parameters(document: dict[str, Any]) -> dict[str, Any]:
    value = document.get("parameters")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidArgument(f"'parameters' must be an object, got {type(value).__name__}")
    return value


def flag(document: dict[str, Any], key: str) -> bool:
    value = document.get(key)
    if value is not None and type(value) is not bool:
        raise InvalidArgument(f"'{key}' must be true or false, got {value!r}")
    return bool(value)
