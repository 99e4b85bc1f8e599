"""Messages of a conversation as clients send them: what is wrong with one is told before a template trips over it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ziggurat.errors import InvalidArgument

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MAX_MESSAGES = 8192


def checked_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages without what is null, each with a role and with content that a template can read."""
    if len(messages) > MAX_MESSAGES:
        raise InvalidArgument(f"messages: {len(messages)} messages, {MAX_MESSAGES} is the limit")
    return [_message(message, f"messages[{at}]") for at, message in enumerate(messages)]


def _message(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    role = message.get("role")
    if role not in ROLES:
        raise InvalidArgument(f"{where}: role must be one of {', '.join(ROLES)}, got {role!r}")
    if message.get("function_call") is not None:
        raise InvalidArgument(f"{where}: function_call is not supported, use tool_calls")
    told = {key: value for key, value in message.items() if value is not None}
    refusal = told.pop("refusal", None)
    if "content" not in told:
        if role != "assistant" or not (told.get("tool_calls") or refusal):
            raise InvalidArgument(f"{where}: content is missing")
        told["content"] = refusal or ""
    told["role"] = "tool" if role == "function" else role
    told["content"] = _content(told["content"], where)
    if "tool_calls" in told:
        told["tool_calls"] = _calls(told["tool_calls"], where)
    return told


def _content(content: object, where: str) -> str | list[dict[str, str]]:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise InvalidArgument(f"{where}: content must be a text or a list of parts, got {type(content).__name__}")
    parts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get(kind) if isinstance(part, dict) and kind in ("text", "refusal") else None
        if not isinstance(text, str):
            raise InvalidArgument(f"{where}: content parts must be texts, this model reads no {kind or 'such part'}")
        parts.append({"type": "text", "text": text})
    return parts


def _calls(calls: object, where: str) -> list[dict[str, Any]]:
    if not isinstance(calls, list):
        raise InvalidArgument(f"{where}: tool_calls must be a list")
    return [_call(call, f"{where}.tool_calls[{at}]") for at, call in enumerate(calls)]


def _call(call: object, where: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InvalidArgument(f"{where}: expected an object with function.name")
    arguments = function.get("arguments") or {}
    try:
        arguments = json.loads(arguments) if isinstance(arguments, str) and arguments.strip() else arguments or {}
    except (ValueError, RecursionError):
        raise InvalidArgument(f"{where}: function.arguments is not JSON") from None
    return {**call, "type": "function", "function": {**function, "arguments": arguments or {}}}
