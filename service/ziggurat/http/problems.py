"""Errors to statuses: the one table of the V2 protocol. A body is always {"error": "text"}."""

from __future__ import annotations

import math

import orjson

from ziggurat.errors import Overloaded, ZigguratError

STATUS = {
    "invalid_argument": 400,
    "invalid_model": 500,  # the model's fault, found while it ran: nothing that the client can mend
    "unsupported": 501,
    "not_found": 404,
    "out_of_memory": 503,
    "cancelled": 499,  # only ever logged: nobody is left to read it
    "deadline_exceeded": 504,
    "unavailable": 503,
    "too_large": 413,
    "unsupported_media_type": 415,
    "overloaded": 429,
    "internal": 500,
}

TEXT_MAX = 4000  # characters of a message

Headers = list[tuple[bytes, bytes]]


class UnsupportedMediaType(ZigguratError):
    """Knows HTTP, so it lives here and not among the errors of the layers below."""

    code = "unsupported_media_type"


def problem(error: Exception) -> tuple[int, Headers, bytes]:
    """Status, extra headers and body. An exception that is not ours tells the client nothing of our insides."""
    if not isinstance(error, ZigguratError):
        return 500, [], body("internal error: the server's log has the details under this request's id")
    status = STATUS[error.code]
    headers: Headers = []
    if isinstance(error, Overloaded):
        headers.append((b"retry-after", str(math.ceil(error.retry_after)).encode()))
    elif status == 503:
        headers.append((b"retry-after", b"1"))
    return status, headers, body(text_of(error))


def text_of(error: Exception) -> str:
    """The message as it may be sent and logged: a client's own words can be part of it, at whatever length, and names
    from a model file or a client need not be valid Unicode."""
    text = str(error)
    if len(text) > TEXT_MAX:  # what is wrong stands before such words or behind them
        text = f"{text[: TEXT_MAX // 2]} ... {text[-TEXT_MAX // 2 :]}"
    return text.encode(errors="replace").decode()


def body(text: str) -> bytes:
    return orjson.dumps({"error": text.encode(errors="replace").decode()})
