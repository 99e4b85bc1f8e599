"""What a chat template is given: messages and tools as plain values, in the shape that published templates read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ziggurat.errors import InvalidArgument

TAG = "\ufdd1"  # a Unicode noncharacter: where the last message ends
_RESERVED = frozenset({"messages", "tools", "add_generation_prompt", "bos_token", "eos_token"})


def plain(value: Any, depth: int = 0) -> Any:
    """A copy made of JSON's types alone, so that no method of anything else is within reach."""
    if depth > 64:
        raise InvalidArgument("the conversation nests deeper than 64 levels")
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise InvalidArgument(f"the conversation has a {type(value).__name__} in it, which is no JSON value")


def extra(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    for name in kwargs:
        if name in _RESERVED or not name.isidentifier() or name.startswith("_"):
            raise InvalidArgument(f"'{name}' cannot be given to the chat template")
    made: dict[str, Any] = plain(kwargs)
    return made


def joined(index: int, parts: list[Any]) -> str:
    texts = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else type(part).__name__
        if kind != "text" or not isinstance(part.get("text"), str):
            raise InvalidArgument(f"messages[{index}] has a content part '{kind}'; this model reads text only")
        texts.append(part["text"])
    return "\n".join(texts)


def shape_arguments(call: Any, as_object: bool) -> None:
    """The API writes a call's arguments as text; most templates read an object, some want the text."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return
    arguments = function.get("arguments")
    if as_object and isinstance(arguments, str):
        try:
            read = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            return
        if isinstance(read, dict):
            function["arguments"] = plain(read)
    elif not as_object and isinstance(arguments, dict):
        function["arguments"] = json.dumps(arguments, ensure_ascii=False)


def tag(chat: list[dict[str, Any]]) -> None:
    """Marks the end of the last message's text."""
    content = chat[-1].get("content") if chat else None
    if isinstance(content, str):
        chat[-1]["content"] = content + TAG
    elif isinstance(content, list) and content and isinstance(content[-1].get("text"), str):
        content[-1]["text"] += TAG
    else:
        raise InvalidArgument("the last message has no text to continue")


def weight(value: Any) -> int:
    """Characters and entries in plain values."""
    size, stack = 0, [value]
    while stack:
        item = stack.pop()
        size += len(item) if isinstance(item, str | list | dict) else 8
        if isinstance(item, dict):
            stack += [*item, *item.values()]
        elif isinstance(item, list):
            stack += item
    return size
