"""Errors to statuses and bodies, as OpenAI's clients expect them: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from pydantic import ValidationError

from ziggurat.errors import InvalidArgument, NotFound, ZigguratError
from ziggurat.http import problems as v2

if TYPE_CHECKING:
    from ziggurat.http.problems import Headers

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
    504: "timeout_error",
}
CODES = {429: "rate_limit_exceeded", 503: "service_unavailable", 504: "timeout"}

# OpenAI's clients ask again after any status from 500: what this build cannot do it cannot do the next time either.
_STATUS = {501: 400}


class BadField(InvalidArgument):
    """A request is wrong in one field, which the error's `param` names."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


class UnknownModel(NotFound):
    """Says so in the way that clients look for."""


def problem(error: Exception) -> tuple[int, Headers, bytes]:
    """Status, extra headers and body."""
    status, headers, _ = v2.problem(error)
    status = _STATUS.get(status, status)
    return status, headers, orjson.dumps({"error": describe(error, status)})


def describe(error: Exception, status: int) -> dict[str, Any]:
    """The object under "error"; in the middle of a stream `code` is the status that can no longer be sent."""
    text = _message(error)
    described: dict[str, Any] = {
        "message": text,
        "type": TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error"),
        "param": getattr(error, "param", None),
        "code": CODES.get(status),
    }
    if isinstance(error, UnknownModel):
        described |= {"param": "model", "code": "model_not_found"}
    if hasattr(error, "n_prompt_tokens"):
        described |= {"code": "context_length_exceeded", "n_prompt_tokens": error.n_prompt_tokens}
        described["n_ctx"] = getattr(error, "n_ctx", None)
    return described


def of_status(status: int, text: str) -> bytes:
    """The body of an error that is no exception of ours, as a path that does not exist."""
    described = {"message": text, "type": TYPES.get(status, "invalid_request_error"), "param": None, "code": None}
    return orjson.dumps({"error": described})


def in_stream(error: Exception) -> bytes:
    """The same as an event of a stream whose status is out already."""
    status, _, _ = v2.problem(error)
    return orjson.dumps({"error": {**describe(error, status), "code": status}})


def of_validation(error: ValidationError) -> BadField:
    """The first thing that is wrong, by the name of its field."""
    first = error.errors(include_url=False, include_context=False)[0]
    names = [str(part) for part in first["loc"] if not isinstance(part, str) or part.isidentifier()]
    field = str(first["loc"][0]) if first["loc"] else None
    given = "" if first["type"] == "missing" else f", got {_short(first['input'])}"
    return BadField(field or "body", f"{'.'.join(names) or 'the request'}: {first['msg']}{given}")


def _message(error: Exception) -> str:
    if isinstance(error, ZigguratError):
        return v2.text_of(error)
    return "internal error: the server's log has the details under this request's id"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
