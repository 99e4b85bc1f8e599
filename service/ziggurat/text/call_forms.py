"""Grammars of tool calls: what `tool_choice` demands, in the format that the model writes and tool_formats reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ziggurat.errors import InvalidArgument
from ziggurat.text.schema_rules import check_schema, tightened

if TYPE_CHECKING:
    from ziggurat.text.tokenizer import Tokenizer

MAX_TOOLS = 512


@dataclass(frozen=True)
class _Shape:
    """How a format writes calls; `{}` stands for the name, special tokens stand alone as items."""

    begin: tuple[str, ...]  # before the first call
    head: tuple[str, ...]  # of each call, up to the arguments
    tail: tuple[str, ...]
    between: tuple[str, ...]
    end: tuple[str, ...]


_SHAPES = {
    "hermes": _Shape(
        (), ("<tool_call>", '\n{"name": {}, "arguments": '), ("}\n", "</tool_call>"), ("\n",), ()
    ),
    "llama3": _Shape((), ('{"name": {}, "parameters": ',), ("}",), ("; ",), ()),
    "mistral": _Shape(("[TOOL_CALLS]", " ["), ('{"name": {}, "arguments": ',), ("}",), (", ",), ("]",)),
    "mistral-args": _Shape((), ("[TOOL_CALLS]", "{}", "[ARGS]"), (), (), ()),
}  # fmt: skip


@dataclass(frozen=True)
class CallForm:
    """Calls of the given functions, at least one, and nothing else.

    Attributes:
        shape: hermes, llama3, mistral, or mistral-args for `[TOOL_CALLS]name[ARGS]{…}`.
        functions: Names with the JSON schemas of their arguments.
        parallel: More than one call may be made.
    """

    shape: str
    functions: tuple[tuple[str, Mapping[str, Any]], ...]
    parallel: bool = True

    @classmethod
    def of(
        cls, shape: str, tools: Sequence[Mapping[str, Any]], name: str | None = None, parallel: bool = True
    ) -> CallForm:
        """From the API's list of tools; only function `name` where one is given.

        Raises:
            InvalidArgument: No such function, tools that are none, or schemas that cannot be enforced.
        """
        if shape not in _SHAPES:
            raise InvalidArgument(f"calls in the format '{shape}' cannot be enforced")
        functions = [_function(i, tool) for i, tool in enumerate(tools)]
        chosen = [(known, schema) for known, schema in functions if name in (None, known)]
        if not chosen:
            raise InvalidArgument(
                f"there is no tool '{name}'" if name else "a call is required, but there are no tools"
            )
        if len(chosen) > MAX_TOOLS:
            raise InvalidArgument(f"{len(chosen)} tools; {MAX_TOOLS} is the limit where a call is required")
        return cls(shape, tuple(chosen), parallel)

    @staticmethod
    def shape_for(parser: str, template: str) -> str:
        """What `template` writes for the parser of that name: Mistral's newer templates write `[ARGS]`."""
        return "mistral-args" if parser == "mistral" and "[ARGS]" in template else parser

    def grammar(self, tokenizer: Tokenizer) -> str:
        """Lark for llguidance."""
        shape = _SHAPES[self.shape]

        def write(parts: tuple[str, ...]) -> str:
            return " ".join(terminal(part, tokenizer) for part in parts)

        more = f" ({write(shape.between)} call)*" if self.parallel else ""
        lines = [
            "%llguidance {}",
            f"start: {write(shape.begin)} call{more} {write(shape.end)}",
            "call: " + " | ".join(f"call_{i}" for i in range(len(self.functions))),
        ]
        for i, (name, schema) in enumerate(self.functions):
            written = name if self.shape == "mistral-args" else json.dumps(name, ensure_ascii=False)
            head = write(tuple(part.replace("{}", written) for part in shape.head))
            lines.append(f"call_{i}: {head} arguments_{i} {write(shape.tail)}")
            lines.append(f"arguments_{i}: %json {json.dumps(schema)}")
        return "\n".join(lines)


def terminal(text: str, tokenizer: Tokenizer) -> str:
    """Lark for a fixed text: its token where that is a special one, which no spelling out can make."""
    token = tokenizer.token_id(text)
    if token is not None and token in tokenizer.special_ids:
        return f"<[{token}]>"
    return json.dumps(text, ensure_ascii=False) if text else ""


def _function(index: int, tool: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    from ziggurat.text.grammars import JSON_OPTIONS

    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise InvalidArgument(f"tools[{index}] has no function with a name")
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    try:
        check_schema(schema)
    except InvalidArgument as error:
        raise InvalidArgument(f"tools[{index}].function.parameters: {error.message}") from None
    if schema.get("type", "object") != "object":
        raise InvalidArgument(f"tools[{index}].function.parameters: arguments are an object, not {schema['type']!r}")
    return function["name"], {"type": "object", **tightened(schema), "x-guidance": JSON_OPTIONS}
